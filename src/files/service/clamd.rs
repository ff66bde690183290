//! What asks clamd whether there is something in a file: its own protocol (clamd(8), INSTREAM), piece by piece.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::files::store::draft::BytesRead;

/// How long one file may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many bytes are sent at a time.
const CHUNK_B: usize = 64 << 10;

/// How much of an answer is read.
const LONGEST_ANSWER_B: u64 = 1 << 10;

/// Where clamd listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clamd {
    /// At a socket of this machine.
    Unix(PathBuf),
    /// At `HOST:PORT`.
    Tcp(String),
}

/// What clamd says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanVerdict {
    /// It has found nothing.
    Clean,
    /// It has found something, which it calls so.
    Infected(String),
    /// It does not scan it, for this reason.
    Refused(String),
}

impl std::str::FromStr for Clamd {
    type Err = ();

    /// Reads `clamd:unix:/PATH` or `clamd:tcp://HOST:PORT`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let place = text.strip_prefix("clamd:").ok_or(())?;
        if let Some(path) = place.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(()) };
        }
        let address = place.strip_prefix("tcp://").ok_or(())?;
        let (host, port) = address.rsplit_once(':').ok_or(())?;
        let is_host = !host.is_empty() && !host.contains(['/', ' ', '@']);
        if is_host && port.parse::<u16>().is_ok_and(|port| port > 0) {
            Ok(Self::Tcp(address.to_owned()))
        } else {
            Err(())
        }
    }
}

impl Clamd {
    /// What it says of `bytes`.
    ///
    /// # Errors
    /// When it is away, or does not answer; or when `bytes` cannot be read.
    pub async fn scan(&self, bytes: BytesRead) -> io::Result<ScanVerdict> {
        let asked = async {
            match self {
                Self::Unix(path) => ask(UnixStream::connect(path).await?, bytes).await,
                Self::Tcp(address) => ask(TcpStream::connect(address).await?, bytes).await,
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }
}

async fn ask(mut line: impl AsyncRead + AsyncWrite + Unpin, mut bytes: BytesRead) -> io::Result<ScanVerdict> {
    match send(&mut line, &mut bytes).await {
        // It has said why, and reads no further.
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
        other => other?,
    }
    let mut answer = Vec::new();
    line.take(LONGEST_ANSWER_B).read_to_end(&mut answer).await?;
    verdict(&String::from_utf8_lossy(&answer))
}

async fn send(line: &mut (impl AsyncWrite + Unpin), bytes: &mut BytesRead) -> io::Result<()> {
    line.write_all(b"zINSTREAM\0").await?;
    while let Some(piece) = bytes.next().await {
        for chunk in piece?.chunks(CHUNK_B) {
            line.write_all(&u32::try_from(chunk.len()).map_err(io::Error::other)?.to_be_bytes()).await?;
            line.write_all(chunk).await?;
        }
    }
    line.write_all(&0_u32.to_be_bytes()).await?;
    line.flush().await
}

fn verdict(answer: &str) -> io::Result<ScanVerdict> {
    let answer = answer.trim_matches(['\0', '\n']).trim();
    let said = answer.strip_prefix("stream: ").unwrap_or(answer);
    match said.strip_suffix(" FOUND") {
        Some(what) => Ok(ScanVerdict::Infected(what.to_owned())),
        None if said == "OK" => Ok(ScanVerdict::Clean),
        None if said.ends_with("ERROR") => Ok(ScanVerdict::Refused(said.to_owned())),
        None => Err(io::Error::new(ErrorKind::InvalidData, "clamd gave no answer that it has")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_clamd_gives_them() {
        assert_eq!(verdict("stream: OK\0").ok(), Some(ScanVerdict::Clean));
        assert_eq!(verdict("stream: Eicar FOUND\0").ok(), Some(ScanVerdict::Infected("Eicar".into())));
        let refused = "INSTREAM size limit exceeded. ERROR\0";
        assert_eq!(verdict(refused).ok(), Some(ScanVerdict::Refused("INSTREAM size limit exceeded. ERROR".into())));
        for other in ["", "\0", "OK FOUND OK", "stream: maybe", "UNKNOWN COMMAND"] {
            assert!(verdict(other).is_err(), "{other}");
        }
    }

    #[test]
    fn places_are_read_as_they_are_written() {
        assert_eq!("clamd:unix:/run/clamd.sock".parse(), Ok(Clamd::Unix("/run/clamd.sock".into())));
        assert_eq!("clamd:tcp://scanner:3310".parse(), Ok(Clamd::Tcp("scanner:3310".into())));
        assert_eq!("clamd:tcp://[::1]:3310".parse(), Ok(Clamd::Tcp("[::1]:3310".into())));
        for bad in
            ["", "clamd:", "clamd:unix:run", "clamd:tcp://", "clamd:tcp://x", "clamd:tcp://x:0", "clamd:tcp://:1"]
        {
            assert_eq!(bad.parse::<Clamd>(), Err(()), "{bad}");
        }
    }
}
