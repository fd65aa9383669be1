//! The command line: one file per command. Uses the library's public API only.

mod args;
mod bench;
mod chart;
mod classify;
mod coefficients;
mod decode;
mod device_network;
mod eval;
mod held;
mod inspect;
mod limits;
mod out_file;
mod output;
mod parallel;
mod profile;
mod progress;
#[cfg(feature = "torch")]
mod train;
mod weights;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dctflow::Result;

use output::{is_closed_pipe, say};

/// JPEG bytes in, logits out, and never a pixel.
#[derive(Debug, Parser)]
#[command(name = "dctflow", version, about, after_help = EXAMPLES, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  dctflow classify photo.jpg                      with the small model that comes with the program
  dctflow bench                                   measure this machine; makes its own images
  dctflow classify --weights net.safetensors a.jpg photos/ shard.tar @list.txt
  dctflow inspect photo.jpg
  dctflow coefficients --digest photos/

Exit status: 0 if every image could be used; 1 if one failed; 2 if the command could not run.";

#[derive(Debug, Subcommand)]
enum Command {
    Classify(classify::Args),
    Eval(eval::Args),
    Inspect(inspect::Args),
    Coefficients(coefficients::Args),
    Bench(Box<bench::Args>),
    Profile(profile::Args),
    #[cfg(feature = "torch")]
    Train(Box<train::Args>),
    Weights(weights::Args),
}

/// Whether something failed of what a command was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Everything,
    NotEverything,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Classify(args) => classify::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Coefficients(args) => coefficients::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Profile(args) => profile::run(&args),
        #[cfg(feature = "torch")]
        Command::Train(args) => train::run(&args),
        Command::Weights(args) => weights::run(&args),
    };
    exit_code(done)
}

fn exit_code(done: Result<Done>) -> ExitCode {
    match done {
        Ok(Done::Everything) => ExitCode::SUCCESS,
        Ok(Done::NotEverything) => ExitCode::from(1),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(error);
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
