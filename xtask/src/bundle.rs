//! `cargo xtask bundle`: one archive for a host without a network: agent, collector, config, signature, installer and sums.
//! Faults in them that can be found are reported here, where a network and a person are near.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::build::elf::Elf;
use crate::build::{self, platforms::Platform};
use crate::command::{run, run_within};
use crate::dist::stamp::Stamp;
use crate::dist::tar::{self, Entry};
use crate::dist::{
    payload::{self, Pages},
    trial::Scratch,
};
use crate::{Failure, Flags, console, places};

/// How long a collector may take to answer, an emulated one too.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the verb.
pub fn verb(args: &[String]) -> Result<(), Failure> {
    let options = Options::parse(args)?;
    let platform = &options.platform;
    println!("{} {}", console::stdout().bold(&platform.target), console::stdout().dim(&platform.needs.is));
    let parts = Parts::read(&options)?;
    let trusted = if parts.key.is_some() { ", its signature is of the key" } else { "" };
    let build = || build::build(platform, "otelet", options.way.as_deref());
    // An agent that runs here is built once, and asked itself.
    let agent = if platform.is_here() { Some(build()?.path) } else { None };
    let here = agent.clone().map_or_else(otelet_of_this_machine, Ok)?;
    match validate(&options, &parts, &here)? {
        Review::Collector(how) => println!("  config: good{trusted}; the collector takes it{how}"),
        Review::Nobody(why) => {
            println!("  config: well formed{trusted}");
            println!("  {}", console::stdout().yellow(&format!("the collector was not asked: {why}")));
        }
    }
    let agent = agent.map_or_else(|| build().map(|built| built.path), Ok)?;
    let stamp = Stamp::now()?;
    let name = format!("otelet-bundle-{}-{}", stamp.version, platform.target);
    let archive = tar::tar(&format!("{name}/"), &entries(&parts, &Pages::print()?, read(&agent)?)?, stamp.time)?;
    let archive = tar::gzip(&archive);
    let path = options.out.clone().unwrap_or_else(|| places::target().join("bundle").join(format!("{name}.tar.gz")));
    write(&path, &archive)?;
    println!("  {}, SHA-256 {}", console::bytes(archive.len() as u64), places::sha256(&archive));
    println!("  on the host: tar -xzf {name}.tar.gz && ./{name}/install.sh");
    // The last line is the path, for scripts.
    println!("{}", path.display());
    Ok(())
}

/// The options of the verb.
struct Options {
    platform: Platform,
    collector: PathBuf,
    config: PathBuf,
    key: Option<PathBuf>,
    out: Option<PathBuf>,
    way: Option<String>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Options, Failure> {
        let (mut platform, mut collector, mut config) = (None, None, None);
        let (mut key, mut out, mut way) = (None, None, None);
        let mut flags = Flags::new("bundle", args);
        while let Some(name) = flags.next_name() {
            match name {
                "--target" => platform = Some(Platform::named(flags.value(name)?).map_err(Failure::Usage)?),
                "--collector" => collector = Some(absolute(flags.value(name)?)),
                "--config" => config = Some(absolute(flags.value(name)?)),
                "--key" => key = Some(absolute(flags.value(name)?)),
                "--out" => out = Some(absolute(flags.value(name)?)),
                "--way" => way = Some(build::known_way(flags.value(name)?)?.to_owned()),
                _ => return Err(flags.unknown(name)),
            }
        }
        let missing = |name: &str, what: &str| Failure::Usage(format!("{name} is missing: {what}"));
        let platform = platform.ok_or_else(|| missing("--target", "the machine that the bundle is for"))?;
        if platform.is_windows() {
            let target = &platform.target;
            return Err(Failure::Usage(format!(
                "--target={target}: a bundle is for Linux; take what `cargo xtask dist --target={target}` makes and a Collector to \
                 the host (docs/windows.md, \"Without a network\")"
            )));
        }
        Ok(Options {
            platform,
            collector: collector.ok_or_else(|| {
                missing("--collector", "a Collector for that machine; `cargo xtask collector` finds or builds one")
            })?,
            config: config.ok_or_else(|| missing("--config", "the config that it starts with"))?,
            key,
            out,
            way,
        })
    }
}

fn absolute(path: &str) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path))
}

/// The parts that people bring.
struct Parts {
    collector: Vec<u8>,
    config: Vec<u8>,
    signature: Option<Vec<u8>>,
    /// The line of the public key.
    key: Option<String>,
}

impl Parts {
    fn read(options: &Options) -> Result<Parts, String> {
        is_for(&options.platform, &options.collector)?;
        let beside = signature_of(&options.config);
        let signature = if beside.exists() { Some(read(&beside)?) } else { None };
        let key = options.key.as_deref().map(key_line).transpose()?;
        if key.is_some() && signature.is_none() {
            let config = options.config.display();
            return Err(format!(
                "{}: no such file, and with --key the config must be signed: minisign -Sm {config}",
                beside.display()
            ));
        }
        Ok(Parts { collector: read(&options.collector)?, config: read(&options.config)?, signature, key })
    }
}

fn signature_of(config: &Path) -> PathBuf {
    let mut name = config.as_os_str().to_owned();
    name.push(".minisig");
    PathBuf::from(name)
}

/// A collector for another processor would be noticed on the host only.
fn is_for(platform: &Platform, collector: &Path) -> Result<(), String> {
    let elf = Elf::read(collector)?;
    match platform.needs.machine {
        Some(machine) if machine != elf.machine => Err(format!(
            "{}: is for machine {} of elf(5), and {} is {machine}; take a Collector for {}",
            collector.display(),
            elf.machine,
            platform.target,
            platform.needs.is
        )),
        _ => Ok(()),
    }
}

/// The key itself, from the file that minisign writes or from one with nothing else in it.
fn key_line(path: &Path) -> Result<String, String> {
    let text = read(path)?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    if line.starts_with("RW") {
        return Ok(line.to_owned());
    }
    Err(format!(
        "{}: not a public key of minisign, whose last line begins with RW; is it the secret one?",
        path.display()
    ))
}

/// Whether a collector has validated the config as well.
#[derive(Debug)]
enum Review {
    Collector(String),
    Nobody(String),
}

/// Runs `otelet validate`: the signature, otelet's own checks, and the collector where it runs on this machine.
fn validate(options: &Options, parts: &Parts, otelet: &Path) -> Result<Review, String> {
    let scratch = Scratch::new("bundle")?;
    let (program, review) = collector_here(options, &scratch)?;
    let settings = serde_yaml::to_string(&serde_json::json!({
        "config": match &parts.key {
            Some(key) => serde_json::json!({"url": options.config, "public_key": key}),
            None => serde_json::json!({"url": options.config}),
        },
        "collector": {"path": program},
        "state_dir": scratch.dir.join("state"),
        "runtime_dir": scratch.dir.join("run"),
    }))
    .map_err(|cause| format!("settings: {cause}"))?;
    scratch.write("otelet.yaml", &settings)?;
    let mut command = Command::new(otelet);
    // The variables of an agent on this machine must not count.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OTELET_")) {
        command.env_remove(name);
    }
    command.arg("validate").arg(format!("--settings={}", scratch.dir.join("otelet.yaml").display()));
    let ran = run_within("otelet validate", &mut command, Some(PATIENCE))?;
    if ran.ok() { Ok(review) } else { Err(format!("{}: {}", options.config.display(), ran.last_words())) }
}

/// The collector as something that runs here: itself, by an emulator, or else a stand-in that takes everything.
fn collector_here(options: &Options, scratch: &Scratch) -> Result<(PathBuf, Review), String> {
    if options.platform.is_here() {
        return Ok((options.collector.clone(), Review::Collector(String::new())));
    }
    let emulators = &options.platform.needs.emulators;
    let (text, review) = match emulators.iter().find_map(|name| places::on_path(name)) {
        Some(emulator) => (
            format!("exec '{}' '{}' \"$@\"", emulator.display(), options.collector.display()),
            Review::Collector(format!(", run by {}", emulator.file_name().unwrap_or_default().to_string_lossy())),
        ),
        None => (
            "exit 0".to_owned(),
            Review::Nobody(format!("it does not run here; {} would run it", emulators.join(" or "))),
        ),
    };
    scratch.write("collector", &format!("#!/bin/sh\n{text}\n"))?;
    let path = scratch.dir.join("collector");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .map_err(|cause| format!("{}: {cause}", path.display()))?;
    Ok((path, review))
}

/// The agent as this machine runs it; what it says about a config does not depend on the machine.
fn otelet_of_this_machine() -> Result<PathBuf, String> {
    let ran = run(
        "building otelet for this machine",
        places::cargo().args(["build", "--locked", "--package", "otelet", "--bin", "otelet"]),
    )?;
    if !ran.ok() {
        return Err(format!("otelet cannot be built\n{}", ran.output));
    }
    Ok(places::target().join("debug").join(places::program("otelet")))
}

/// All in one flat directory, as install.sh looks for it.
fn entries(parts: &Parts, pages: &Pages, agent: Vec<u8>) -> Result<Vec<Entry>, String> {
    let mut entries = vec![
        Entry::file("otelet", 0o755, agent),
        Entry::file("otelcol", 0o755, parts.collector.clone()),
        // It may have secrets in it.
        Entry::file("site.yaml", 0o640, parts.config.clone()),
    ];
    if let Some(signature) = &parts.signature {
        entries.push(Entry::file("site.yaml.minisig", 0o644, signature.clone()));
    }
    if let Some(key) = &parts.key {
        entries.push(Entry::file("site.pub", 0o644, format!("{key}\n")));
    }
    entries.extend(payload::installer(pages)?);
    entries.push(payload::sums(&entries));
    Ok(entries)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|cause| format!("{}: cannot read: {cause}", path.display()))
}

/// Whole or not at all: somebody may be copying the one before.
fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let cannot = |cause| format!("{}: cannot write: {cause}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(cannot)?;
    }
    let new = path.with_extension("new");
    fs::write(&new, bytes).map_err(cannot)?;
    fs::rename(&new, path).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "receivers: {nop: }\nexporters: {nop: }\n\
        service: {pipelines: {metrics: {receivers: [nop], exporters: [nop]}}}\n";

    /// A directory with a config and a collector for ARM64 of which only the header is real.
    fn place(name: &str) -> (Scratch, Options) {
        let scratch = Scratch::new(&format!("bundle-test-{name}")).unwrap();
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[0x12] = 183;
        fs::write(scratch.dir.join("otelcol"), elf).unwrap();
        scratch.write("site.yaml", CONFIG).unwrap();
        let options = Options {
            // No emulator, so that a header is enough of a collector.
            platform: {
                let mut platform = Platform::named("aarch64-unknown-linux-musl").unwrap();
                platform.needs.emulators = vec!["no-such-emulator".to_owned()];
                platform
            },
            collector: scratch.dir.join("otelcol"),
            config: scratch.dir.join("site.yaml"),
            key: None,
            out: None,
            way: None,
        };
        (scratch, options)
    }

    fn checked(options: &Options) -> Result<Review, String> {
        Parts::read(options).and_then(|parts| validate(options, &parts, &otelet_of_this_machine()?))
    }

    #[test]
    fn the_installer_takes_it_as_it_is() {
        let (scratch, options) = place("installer");
        let mut parts = Parts::read(&options).unwrap();
        parts.signature = Some(b"signature".to_vec());
        parts.key = Some("RWkey".to_owned());
        let pages = Pages::for_tests();
        let archive =
            || tar::gzip(&tar::tar("bundle/", &entries(&parts, &pages, b"agent".to_vec()).unwrap(), 7).unwrap());
        assert_eq!(archive(), archive());
        fs::write(scratch.dir.join("bundle.tar.gz"), archive()).unwrap();
        let tree = scratch.dir.join("tree");
        fs::create_dir_all(tree.join("etc/systemd/system")).unwrap();
        let mut unpack = Command::new("tar");
        unpack.arg("-xzf").arg(scratch.dir.join("bundle.tar.gz")).arg("-C").arg(&scratch.dir);
        assert!(run("tar", &mut unpack).unwrap().ok());

        let mut install = Command::new("sh");
        install.arg(scratch.dir.join("bundle/install.sh")).arg(format!("--root={}", tree.display()));
        let ran = run("install.sh", &mut install).unwrap();

        assert!(ran.ok(), "{}", ran.output);
        let read = |name: &str| fs::read(tree.join(name)).unwrap();
        assert_eq!(read("usr/local/bin/otelet"), b"agent");
        assert_eq!(read("usr/local/bin/otelcol"), parts.collector);
        assert!(read("usr/local/share/man/man8/otelet.8").starts_with(b".TH OTELET 8 "));
        assert_eq!(read("etc/otelet/site.yaml"), CONFIG.as_bytes());
        assert_eq!(read("etc/otelet/site.yaml.minisig"), b"signature");
        let settings = String::from_utf8(read("etc/otelet/otelet.yaml")).unwrap();
        for line in ["  url: /etc/otelet/site.yaml\n", "  public_key: RWkey\n", "  path: /usr/local/bin/otelcol\n"] {
            assert!(settings.contains(line), "{line}\n{settings}");
        }
    }

    #[test]
    fn a_collector_for_another_processor_is_refused() {
        let (_scratch, mut options) = place("processor");
        options.platform = Platform::named("armv7-unknown-linux-musleabihf").unwrap();
        let message = Parts::read(&options).err().unwrap();
        assert!(message.contains("otelcol: is for machine 183 of elf(5), and armv7-"), "{message}");
        options.collector = options.config.clone();
        let message = Parts::read(&options).err().unwrap();
        assert!(message.contains("not an ELF file"), "{message}");
    }

    #[test]
    fn a_config_that_otelet_would_not_run_is_refused() {
        let (scratch, options) = place("config");
        let review = checked(&options).unwrap();
        assert!(matches!(&review, Review::Nobody(why) if why.contains("no-such-emulator")), "{review:?}");
        scratch.write("site.yaml", "receivers: [\n").unwrap();
        let message = checked(&options).unwrap_err();
        assert!(message.contains("site.yaml: config: "), "{message}");
    }

    #[test]
    fn with_a_key_the_config_must_be_signed_by_it() {
        let (scratch, mut options) = place("key");
        scratch.write("plant.pub", "untrusted comment: minisign encrypted secret key\nwhatever\n").unwrap();
        options.key = Some(scratch.dir.join("plant.pub"));
        let message = Parts::read(&options).err().unwrap();
        assert!(message.contains("plant.pub: not a public key of minisign"), "{message}");
        if places::on_path("minisign").is_none() {
            println!("skipped: signatures: minisign is not installed");
            return;
        }
        let path = |name: &str| scratch.dir.join(name);
        let make_key = |name: &str| {
            let mut minisign = Command::new("minisign");
            minisign.arg("-GWf").arg("-p").arg(path(&format!("{name}.pub"))).arg("-s").arg(path(name));
            assert!(run("minisign", &mut minisign).unwrap().ok());
        };
        let sign = |key: &str| {
            let mut minisign = Command::new("minisign");
            minisign.arg("-SW").arg("-s").arg(path(key)).arg("-m").arg(path("site.yaml"));
            assert!(run("minisign", &mut minisign).unwrap().ok());
        };
        make_key("plant");
        make_key("other");

        let message = checked(&options).unwrap_err();
        assert!(message.contains("site.yaml.minisig: no such file"), "{message}");
        sign("other");
        let message = checked(&options).unwrap_err();
        assert!(message.contains("key"), "{message}");
        sign("plant");
        checked(&options).unwrap();
        scratch.write("site.yaml", &format!("{CONFIG}# changed\n")).unwrap();
        let message = checked(&options).unwrap_err();
        assert!(message.contains("signature"), "{message}");
    }

    #[test]
    fn what_is_missing_is_asked_for() {
        let parse = |args: &[&str]| Options::parse(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>());
        let complaint = |args: &[&str]| match parse(args) {
            Err(Failure::Usage(message)) => message,
            _ => panic!("no complaint about {args:?}"),
        };
        assert!(complaint(&[]).starts_with("--target is missing"));
        assert!(complaint(&["--target=aarch64-unknown-linux-musl"]).starts_with("--collector is missing"));
        assert!(
            complaint(&["--target=x86_64-pc-windows-gnu"])
                .contains("a bundle is for Linux; take what `cargo xtask dist")
        );
    }
}
