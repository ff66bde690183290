//! The `skranke` binary: see `skranke --help`.

/// Half of the time that the system's allocator took is left; see `benches/results`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    skranke::app::cli::run()
}
