//! The project's own tools: `cargo xtask VERB`, one file per verb. It treats the agent as a black box: it builds and runs the
//! `otelet` binary, and links nothing of it but the pure core, for dates.

mod build;
mod bundle;
mod check;
mod collector;
mod command;
mod console;
mod demo;
mod dist;
mod fuzz;
mod image;
mod picture;
mod places;
mod prepare;
mod rust;
mod wine;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask: build, package, check and demonstrate otelet

Usage: cargo xtask VERB [--flag ...]

  demo        Run the agent with a real Collector through good and bad configs, and show what happens.
    --exit        Stop by itself: 0 if each step was really observed.
    --whole-lines Show long log lines whole.
  collector   Find or build a Collector; its path is the last line of stdout.
    --target=T    For another machine, as a Rust target: aarch64-unknown-linux-musl. [this machine]
    --small       Only the small distribution of targets/collector, from the cache or built by Go.
    --kubernetes  Only that of targets/collector/kubernetes.
    --pin         Write the official release's checksums to targets/collector/release.sha256.
  build       Build static binaries for release, with the first that is installed of rustup target, cross, zig. [this machine]
    --target=T    For one target of targets/platforms.yaml: aarch64-unknown-linux-musl.
    --all         For each of them.
    --way=W       Only this way: rustup-target, cross, zig, or zig-std, which builds std from its sources.
  dist        Build, and make the files to install from: archive, deb, rpm, MSI, bill of materials, sums; then try each.
    --target=T, --all, --way=W   As for build.
    --binary=PATH --version=V    Only package this program as this version, for tests; in target/dist/given/V.
  bundle      One archive for hosts without a network: agent, collector, config, installer (docs/airgap.md).
    --target=T    The machine that it is for, as for build; --way=W too.
    --collector=PATH   A Collector for that machine.
    --config=FILE      The config that it starts with, and FILE.minisig if there is one.
    --key=FILE         The public key of minisign that the config, and each after it, must be signed by.
    --out=PATH         Where to. [target/bundle/otelet-bundle-VERSION-T.tar.gz]
  image       Build, and make container images, without an engine, a network or a base image; each is a file for `docker load`.
    --target=T, --all, --way=W   As for build.
    --collector=PATH   Add this Collector, built for the same machine.
    --tag=NAME:TAG     Its name. [otelet:VERSION and otelet:latest]
    --load        Hand it to docker or podman as well.
  check       Run the checks of CI: format, scripts, rooms, licences, lints, docs, the wall around the core, tests.
    --real        Also the tests that need a real Collector, engine or Kubernetes, ten seconds of each fuzz target, and a
                  comparison of two release builds.
    --skip=A,B    Leave steps out by name; the summary says so.
    --only=A,B    Run these steps alone.
  rooms       List circles of files that use each other, ways to cut them, and arrows upwards between rooms.
    --dir=PATH    Another tree than this one.
  prose [PATH ...]  Count the sentences of comments and docs that open headless, as in `What was read`.
    --list        Print each of them.
    --dir=PATH    Another tree than this one.
  picture     Run the demo and draw docs/demo-light.svg and docs/demo-dark.svg from it, the picture in the README.
    --from=FILE   From the saved output of a run instead.
  prepare     Build the programs that the steps of `check --real` run; it may run beside them.
  fuzz [TARGET ...]  Build the targets of fuzz/, and run these or all of them.
    --seconds=N   Time for each. [10]

Exit status: 0 done, 1 something failed, 64 bad flag.
";

fn main() -> ExitCode {
    if let Some(zig) = std::env::var_os(build::lld::ZIG) {
        return build::lld::stand_in(zig.as_ref());
    }
    let mut args = std::env::args().skip(1);
    let verb = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    if rest.iter().any(|arg| arg == "--help" || arg == "-h")
        && let Some(help) = help_of(&verb)
    {
        print!("{help}");
        return ExitCode::SUCCESS;
    }
    let done = match verb.as_str() {
        "collector" => collector::verb(&rest),
        "build" => build::verb(&rest),
        "bundle" => bundle::verb(&rest),
        "check" => check::verb(&rest),
        "dist" => dist::verb(&rest),
        "demo" => demo::verb(&rest),
        "fuzz" => fuzz::verb(&rest),
        "image" => image::verb(&rest),
        "prepare" => prepare::verb(&rest),
        "prose" => check::prose::verb(&rest),
        "rooms" => check::rooms::verb(&rest),
        "picture" => picture::verb(&rest),
        "" | "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => Err(Failure::Usage(format!(
            "{other}: no such verb; the verbs are build, bundle, check, collector, demo, dist, fuzz, image, picture, prepare, prose and rooms"
        ))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(message)) => {
            eprintln!("{} {message}", console::stderr().red("error:"));
            ExitCode::FAILURE
        }
        Err(Failure::Usage(message)) => {
            eprintln!("{} {message}", console::stderr().red("error:"));
            ExitCode::from(64)
        }
    }
}

/// The lines about one verb.
fn help_of(verb: &str) -> Option<String> {
    let is_verb = |line: &&str| {
        !verb.is_empty() && line.strip_prefix("  ").is_some_and(|line| line.split(' ').next() == Some(verb))
    };
    let mut lines = HELP.lines().skip_while(|line| !is_verb(line));
    let first = lines.next()?;
    let more = lines.take_while(|line| line.starts_with("    "));
    Some([first].into_iter().chain(more).map(|line| format!("{line}\n")).collect())
}

/// The failure of a verb.
pub enum Failure {
    /// Something that was tried failed: exit status 1.
    Failed(String),
    /// The command line cannot be understood: exit status 64.
    Usage(String),
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::Failed(message)
    }
}

/// The flags of one verb: `--name`, `--name=value` or `--name value`.
pub struct Flags<'a> {
    verb: &'static str,
    rest: std::slice::Iter<'a, String>,
    inline: Option<&'a str>,
}

impl<'a> Flags<'a> {
    /// Reads the flags of `verb` from `args`.
    pub fn new(verb: &'static str, args: &'a [String]) -> Flags<'a> {
        Flags { verb, rest: args.iter(), inline: None }
    }

    /// The next flag without its value.
    pub fn next_name(&mut self) -> Option<&'a str> {
        let arg = self.rest.next()?;
        match arg.split_once('=') {
            Some((name, value)) => {
                self.inline = Some(value);
                Some(name)
            }
            None => {
                self.inline = None;
                Some(arg)
            }
        }
    }

    /// The value of the flag last read.
    pub fn value(&mut self, name: &str) -> Result<&'a str, Failure> {
        self.inline
            .take()
            .or_else(|| self.rest.next().map(String::as_str))
            .ok_or_else(|| Failure::Usage(format!("{name}: needs a value: {name}=VALUE")))
    }

    /// The error for a flag that the verb does not have.
    pub fn unknown(&self, name: &str) -> Failure {
        Failure::Usage(format!("{name}: `{}` has no such flag; `cargo xtask help` lists them", self.verb))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_explains_itself_and_nothing_else() {
        let image = help_of("image").unwrap();
        assert!(image.starts_with("  image       Build, and make container images"), "{image}");
        assert!(image.contains("    --tag=NAME:TAG ") && !image.contains("check"), "{image}");
        assert!(help_of("demo").unwrap().contains("--exit") && help_of("frob").is_none() && help_of("").is_none());
    }
}
