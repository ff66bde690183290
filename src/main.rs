//! The `skranke` binary: see `skranke --help`.

fn main() -> std::process::ExitCode {
    skranke::app::cli::run()
}
