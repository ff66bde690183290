//! There is no room left on SQLite's disk: writes are refused in words, reads go on, and all is well again as soon as
//! there is room.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ledger::Ledger;
use crate::start::{Place, Server};
use crate::support::{Caller, Chance, Engine, Store, is_sound, seed};

/// Takes the room away and gives it back.
trait Room {
    fn take(&self, server: &Server);
    fn give(&self, server: &Server);
}

/// A file system of its own, in memory.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// Nothing, if the one who runs the tests may not mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(folder.path()).output();
        mounted.is_ok_and(|done| done.status.success()).then_some(Self { folder })
    }

    fn filler(&self) -> PathBuf {
        self.folder.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.folder.path()).status().ok();
    }
}

impl Room for Disk {
    fn take(&self, _: &Server) {
        let mut file = std::fs::File::options().append(true).create(true).open(self.filler()).unwrap();
        // Ends when the disk is full.
        while std::io::Write::write(&mut file, &[1; 4096]).is_ok_and(|written| written > 0) {}
    }

    fn give(&self, _: &Server) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

/// A limit to the size of each file of the process (RLIMIT_FSIZE), which everybody may set.
struct Limit(PathBuf);

impl Limit {
    fn set(server: &Server, size: &str) {
        let pid = server.process.id().to_string();
        let done =
            Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={size}:unlimited")]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }
}

impl Room for Limit {
    fn take(&self, server: &Server) {
        let largest = ["", "-wal"].map(|end| {
            let path = PathBuf::from(format!("{}{end}", self.0.display()));
            std::fs::metadata(path).map_or(0, |file| file.len())
        });
        Self::set(server, &largest.iter().max().unwrap().to_string());
    }

    fn give(&self, server: &Server) {
        Self::set(server, "unlimited");
    }
}

/// Several clients write as the room ends, and go on trying; whoever asks meanwhile hears what is wrong, and can read.
async fn no_room(room: &impl Room, server: &Server, who: &Caller, database: &Path) {
    let mut chance = Chance(seed());
    let ledger = Ledger::open(server, who.clone()).await;
    let clients = ledger.write(4, chance.0);
    for round in 0..2 {
        ledger.grows_by(10 + chance.below(20)).await;
        room.take(server);
        let (detail, refused) = ledger.comment_until_refused(&format!("round {round}")).await;
        assert!(detail.contains("no room left") || detail.contains("may have been made or not"), "{detail}");
        for path in
            ["/v1/tickets", "/v1/tickets/1", "/v1/tickets?q=client", "/v1/metrics/summary", "/metrics", "/health/ready"]
        {
            server.get(path).by(who).expect(200).await;
        }
        room.give(server);
        ledger.comment_again(refused).await;
        ledger.grows_by(10).await;
    }
    ledger.finish(clients).await;
    ledger.prove(server).await;
    is_sound(database);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_may_not_grow_on_sqlite() {
    let store = Store::make(Engine::Sqlite).await;
    let place = Place::on(&store);
    // The signal that comes with the refusal would end the process, as it would any that does not expect it.
    let skranke = env!("CARGO_BIN_EXE_skranke");
    let command = format!("trap '' XFSZ; exec '{skranke}'");
    let server = Server::of(place.spawn("sh", &["-c", &command], "")).await;
    let who = place.person("admin").await;
    let path = PathBuf::from(store.url_text().strip_prefix("sqlite://").unwrap());
    no_room(&Limit(path.clone()), &server, &who, &path).await;
    server.stop().await;
    store.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "tells what was not done")]
async fn a_full_disk_on_sqlite() {
    let Some(disk) = Disk::mount() else {
        println!("may not mount a file system; the limit to the size of files stands for a full disk");
        return;
    };
    let path = disk.folder.path().join("skranke.db");
    let place = Place::new().with("DATABASE_URL", format!("sqlite://{}", path.display()));
    let mut server = place.start().await;
    let who = place.person("admin").await;
    no_room(&disk, &server, &who, &path).await;
    // A power cut while there is no room: what was acknowledged is there, and can be read.
    disk.take(&server);
    server.process.kill();
    let server = place.start().await;
    server.get("/v1/tickets").by(&who).expect(200).await;
    disk.give(&server);
    server.open(&who).await;
    server.stop().await;
}
