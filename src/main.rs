//! The program `dctflow`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
