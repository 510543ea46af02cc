//! `cargo xtask image`: container images made of the static binaries, without an engine, a network or a base image. Each is a
//! file that `docker load`, `podman load` and `ctr images import` take, the same bytes on every machine. Its content and the
//! way it runs are those of Dockerfile.alpine.

mod archive;
mod roots;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use crate::build::elf::Elf;
use crate::build::{Binary, Options as Builds, platforms::Platform};
use crate::command::run;
use crate::dist::stamp::Stamp;
use crate::dist::tar::Entry;
use crate::image::archive::{Image, Layer};
use crate::{Failure, Flags, console, places};

/// The user in the container, who owns the files written there: the number that images without a shell commonly use.
const USER: u32 = 65532;

/// Runs the verb.
pub fn verb(args: &[String]) -> Result<(), Failure> {
    let options = Options::parse(args)?;
    let stamp = Stamp::now()?;
    let mut made = Vec::new();
    options.builds.each(|platform, built| {
        made.push(make(platform, &built, &options, &stamp)?);
        Ok(())
    })?;
    // The last lines are the paths, for scripts.
    made.iter().for_each(|path| println!("{}", path.display()));
    Ok(())
}

/// The options of the verb.
struct Options {
    builds: Builds,
    collector: Option<PathBuf>,
    tags: Vec<String>,
    load: bool,
}

impl Options {
    fn parse(args: &[String]) -> Result<Options, Failure> {
        let (mut collector, mut load) = (None, false);
        // Compose and install.sh look for the second one.
        let mut tags = vec![format!("otelet:{}", env!("CARGO_PKG_VERSION")), "otelet:latest".to_owned()];
        let mut of_build = Vec::new();
        let mut flags = Flags::new("image", args);
        while let Some(name) = flags.next_name() {
            match name {
                "--collector" => collector = Some(PathBuf::from(flags.value(name)?)),
                "--tag" => tags = vec![tag_of(flags.value(name)?)?],
                "--load" => load = true,
                "--all" => of_build.push(name.to_owned()),
                "--target" | "--way" => of_build.push(format!("{name}={}", flags.value(name)?)),
                _ => return Err(flags.unknown(name)),
            }
        }
        let mut builds = Builds::parse("image", &of_build)?;
        builds.only(|platform| match platform.needs.container {
            Some(_) => Ok(()),
            None => Err(format!("--target={}: there is no image for it", platform.target)),
        })?;
        if collector.is_some() && builds.count() > 1 {
            let why = "it is for one machine; give one --target";
            return Err(Failure::Usage(format!("--collector with several targets: {why}")));
        }
        Ok(Options { builds, collector, tags, load })
    }
}

/// A name with a tag, as every engine takes it.
fn tag_of(text: &str) -> Result<String, Failure> {
    let (name, tag) = match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (text, "latest"),
    };
    let plain = |text: &str, more: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    if name.chars().any(|c| c.is_ascii_uppercase()) || !plain(name, "._-/:") || !plain(tag, "._-") {
        return Err(Failure::Usage(format!("--tag={text}: not the name of an image; try registry.example/otelet:1.0")));
    }
    Ok(format!("{name}:{tag}"))
}

/// Makes the image for one platform. Answers with the file.
fn make(platform: &Platform, built: &Binary, options: &Options, stamp: &Stamp) -> Result<PathBuf, String> {
    let container = platform.needs.container.as_deref().expect("others were refused");
    let mut layers = vec![ground()];
    if let Some(collector) = &options.collector {
        layers.push(with_collector(platform, collector)?);
    }
    // Last, since it changes most: a host that has the other layers fetches this one alone.
    layers.push(Layer {
        made_by: "otelet, a static binary".to_owned(),
        entries: [
            folders(&["usr", "usr/local", "usr/local/bin", "usr/share", "usr/share/doc", "usr/share/doc/otelet"]),
            vec![
                Entry::file("usr/local/bin/otelet", 0o755, read(&built.path)?),
                Entry::file("usr/share/doc/otelet/LICENSE", 0o644, read(&places::root().join("LICENSE"))?),
            ],
        ]
        .concat(),
    });
    let image = Image { platform: container, tags: &options.tags, layers };
    let packed = image.pack(stamp)?;
    let flavour = options.collector.as_deref().and_then(Path::file_name).map(|name| format!("-{}", name.display()));
    let name = format!("otelet-{}-{}{}.tar", stamp.version, container.replace('/', "-"), flavour.unwrap_or_default());
    let path = places::target().join("image").join(&platform.target).join(name);
    write(&path, &packed.archive).map_err(|cause| format!("{}: cannot write: {cause}", path.display()))?;
    for (what, size) in &packed.sizes {
        println!("  {:>10}  {what}", console::bytes(*size));
    }
    println!(
        "  image {} for {container}: {} ({} bytes), id sha256:{}",
        options.tags.join(" and "),
        console::bytes(packed.archive.len() as u64),
        packed.archive.len(),
        packed.id
    );
    if options.load {
        load(&path)?;
    }
    Ok(path)
}

/// The files that stay the same from one version to the next.
fn ground() -> Layer {
    let mut entries = folders(&[
        "etc",
        "etc/otelet",
        "etc/ssl",
        "etc/ssl/certs",
        "run",
        "usr",
        "usr/local",
        "usr/local/bin",
        "var",
        "var/lib",
    ]);
    entries.push(Entry::file("etc/ssl/certs/ca-certificates.crt", 0o644, roots::pem()));
    // For the Collector.
    entries.push(Entry::directory("tmp", 0o1777));
    // A fresh volume in its place belongs to whom this belongs. The group is root's: see Dockerfile.alpine.
    // A tmpfs in this place has its permissions, and root as owner.
    entries.push(Entry::directory("run/otelet", 0o1777).owned_by(USER));
    entries.push(Entry::directory("var/lib/otelet", 0o770).owned_by(USER));
    Layer { made_by: "the public CAs and empty directories".to_owned(), entries }
}

fn folders(paths: &[&str]) -> Vec<Entry> {
    paths.iter().map(|&path| Entry::directory(path, 0o755)).collect()
}

/// The Collector under its own name, by which the agent finds it.
fn with_collector(platform: &Platform, path: &Path) -> Result<Layer, String> {
    let elf = Elf::read(path)?;
    if Some(elf.machine) != platform.needs.machine {
        let target = &platform.target;
        return Err(format!(
            "{}: is for machine {} of elf(5), and not for {target}; `cargo xtask collector --target={target}` finds one",
            path.display(),
            elf.machine
        ));
    }
    if !elf.is_static {
        return Err(format!("{}: wants a dynamic loader, and the image has none; take a static one", path.display()));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name != "otelcol" && !name.starts_with("otelcol-") {
        return Err(format!("{}: the agent looks for otelcol, or otelcol-…; rename it", path.display()));
    }
    let entries = [
        folders(&["usr", "usr/local", "usr/local/bin"]),
        vec![Entry::file(format!("usr/local/bin/{name}"), 0o755, read(path)?)],
    ];
    Ok(Layer { made_by: format!("{name}, a Collector"), entries: entries.concat() })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|cause| format!("{}: cannot read: {cause}", path.display()))
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().expect("it is in a folder"))?;
    fs::write(path, content)
}

fn load(path: &Path) -> Result<(), String> {
    let engine = ["docker", "podman"].into_iter().find(|engine| places::on_path(engine).is_some());
    let engine = engine.ok_or("--load: neither docker nor podman is on PATH")?;
    let ran = run(&format!("{engine} load"), Command::new(engine).args(["load", "--input"]).arg(path))?;
    if !ran.ok() {
        return Err(format!("{engine} load: {}", ran.last_words()));
    }
    println!("  {engine}: {}", ran.last_words());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(args: &[&str]) -> String {
        match Options::parse(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>()) {
            Err(Failure::Usage(message)) => message,
            Err(Failure::Failed(message)) => panic!("not about usage: {message}"),
            Ok(_) => panic!("accepted: {args:?}"),
        }
    }

    #[test]
    fn names_of_images_are_those_that_engines_take() {
        let tag = |text| tag_of(text).ok();
        assert_eq!(tag("otelet").as_deref(), Some("otelet:latest"));
        assert_eq!(tag("registry.example:5000/a/otelet").as_deref(), Some("registry.example:5000/a/otelet:latest"));
        assert_eq!(tag("otelet:1.0-rc.1").as_deref(), Some("otelet:1.0-rc.1"));
        assert!(["", "Otelet", "otelet:", "a b", "-a"].into_iter().all(|text| tag(text).is_none()));
        assert!(complaint(&["--tag=A"]).starts_with("--tag=A: not the name of an image"));
    }

    #[test]
    fn without_a_tag_it_has_the_one_that_compose_and_the_installer_look_for() {
        let tags = |args: &[&str]| {
            Options::parse(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>()).ok().unwrap().tags
        };
        let read = |name: &str| fs::read_to_string(places::root().join("targets/docker").join(name)).unwrap();
        let default = tags(&[]).pop().unwrap();
        assert!(read("compose.yaml").contains(&format!("${{OTELET_IMAGE:-{default}}}")));
        assert!(read("install.sh").contains(&format!("image={default}\n")));
        assert_eq!(tags(&["--tag=otelet:1"]), ["otelet:1"]);
    }

    #[test]
    fn what_cannot_be_in_an_image_is_refused_with_the_way_out() {
        assert_eq!(
            complaint(&["--all", "--collector=x"]),
            "--collector with several targets: it is for one machine; give one --target"
        );
        assert_eq!(
            complaint(&["--target=x86_64-pc-windows-gnu"]),
            "--target=x86_64-pc-windows-gnu: there is no image for it"
        );
        let arm = Platform::named("aarch64-unknown-linux-musl").unwrap();
        let me = std::env::current_exe().unwrap();
        let here = Platform::here().unwrap();
        let refused = |platform: &Platform, path: &Path| with_collector(platform, path).err().unwrap();
        if here.target != arm.target {
            assert!(refused(&arm, &me).contains("not for aarch64-unknown-linux-musl"));
        }
        // A test binary has a dynamic loader.
        assert!(refused(&here, &me).ends_with("take a static one"));
    }

    #[test]
    fn what_the_agent_writes_belongs_to_the_user_that_it_runs_as() {
        let ground = ground();
        let owned: Vec<&str> =
            ground.entries.iter().filter(|entry| entry.owner == USER).map(|entry| entry.path.as_str()).collect();
        assert_eq!(owned, ["run/otelet", "var/lib/otelet"]);
        let dockerfile = fs::read_to_string(places::root().join("Dockerfile.alpine")).unwrap();
        assert!(dockerfile.contains(&format!("\nUSER {USER}:{USER}\n")), "both ways have one user");
    }
}
