//! The program; everything is in the library.

fn main() -> std::process::ExitCode {
    otelet_hub::cli::main().into()
}
