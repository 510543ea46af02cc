//! An emulated ARM64 machine with little memory and no network boots from a disk that survives power cuts. A bundle is
//! copied to it, installed by its busybox, and runs. The tests need qemu-system-aarch64, and apt once for Debian's
//! kernel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use super::host::{hash, stderr, stdout, wait_for_longer};

/// The boot and the start of a Collector, emulated on a busy machine.
const LONG: Duration = Duration::from_secs(300);

/// The memory of a small edge box, in MiB; Debian's kernel leaves 39 of them.
const SMALL: u32 = 64;

/// Memory for the agent and a small Collector, in MiB: 64 were enough, a change of the config included, and with 56 the
/// kernel has no room to load the Collector. The rest is for another kernel and another Collector.
const WITH_COLLECTOR: u32 = 96;

const PROCESSOR: &str = "aarch64-unknown-linux-musl";

/// The program of the initial file system: it finds the disk, and goes on from there.
const FIND_DISK: &str = "#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in virtio_ring virtio virtio_mmio virtio_blk; do /bin/busybox insmod /$module.ko; done
/bin/busybox mount -t ext4 /dev/vda /disk && exec /bin/busybox switch_root /disk /init
";

const INIT: &str = "#!/bin/busybox sh
export PATH=/bin
/bin/busybox mount -t proc proc /proc
mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs run /run; ip link set lo up
for word in $(cat /proc/cmdline); do case $word in box.task=*) task=${word#*=} ;; box.argument=*) argument=${word#*=} ;; esac; done
. /tasks
$task $argument
echo \"TASK-ENDED $?\"
sync
poweroff -f
";

/// The tasks of the machine, as functions of its shell.
const TASKS: &str = r#"
settled() {
    otelet status --healthy && otelet status --json | grep -Eq '"remote_config_status": "(applied|failed)"'
}
kib() { awk '/^VmRSS/ {print $2}' /proc/$1/status; }
otelet() { /usr/local/bin/otelet "$@"; }
start() {
    /usr/local/bin/otelet run --collector-probation=2s "$@" &
    agent=$!
    until settled >/dev/null 2>&1; do [ -d /proc/$agent ] || return 1; sleep 1; done
}
told() {
    echo "STATUS $(otelet status --json | tr -d '\n')"
    echo "AGENT-KIB $(kib $agent)"
    awk '/^Mem(Total|Available)/ {print $1, $2}' /proc/meminfo
}
installs() { sh /opt/bundle/install.sh && sh /opt/bundle/install.sh; }
uninstalls() { sh /opt/bundle/uninstall.sh --purge && ! grep otelet /etc/passwd /etc/group && [ ! -e /usr/local/bin/otelet ]; }
runs_a_script() { start --collector-path=/opt/scripted && told && kill $agent && wait $agent; }
limits() {
    unit=/sys/fs/cgroup/unit
    mount -t cgroup2 none /sys/fs/cgroup && echo +memory >/sys/fs/cgroup/cgroup.subtree_control && mkdir $unit || return 1
    # As a service manager starts it: alone in a cgroup of its own.
    sh -c "echo \$\$ >$unit/cgroup.procs; exec /usr/local/bin/otelet run --collector-probation=2s --collector-path=/opt/greedy \
        --collector-memory-limit=16MiB" &
    agent=$!
    until settled >/dev/null 2>&1; do [ -d /proc/$agent ] || return 1; sleep 1; done
    echo "LIMIT $(cat $unit/otelet-collector/memory.max)"
    echo "AGENT-IN $(cat /proc/$agent/cgroup)"
    echo "COLLECTOR-IN $(cat /proc/$(head -n 1 $unit/otelet-collector/cgroup.procs)/cgroup)"
    until grep -q 'oom_kill [1-9]' $unit/otelet-collector/memory.events; do [ -d /proc/$agent ] || return 1; sleep 1; done
    until otelet status --json | grep -q '"restarts": [1-9]'; do [ -d /proc/$agent ] || return 1; sleep 1; done
    told && kill $agent && wait $agent
}
runs() { start && told && kill $agent && wait $agent; }
changes() {
    start && echo "CHANGES" && cp "/opt/$1" /etc/otelet/new && mv /etc/otelet/new /etc/otelet/site.yaml && sleep 1000
}
"#;

/// A collector of a few lines, for a machine whose memory is measured without the Collector's.
const SCRIPTED: &str = "#!/bin/sh
case $1 in
--version) echo 'scripted version 1' ;;
components) echo 'extensions: []' ;;
validate) ;;
*) trap 'exit 0' TERM; while :; do sleep 1; done ;;
esac
";

/// The same, and it takes all the memory that it gets once its config has survived its probation.
const GREEDY: &str = "#!/bin/sh
case $1 in
--version) echo 'scripted version 1' ;;
components) echo 'extensions: []' ;;
validate) ;;
*) sleep 6; exec tail /dev/zero ;;
esac
";

/// A config that the real Collector runs, with a name.
fn site(name: &str) -> String {
    format!(
        "# {name}\nreceivers: {{hostmetrics: {{collection_interval: 10s, scrapers: {{memory: {{}}}}}}}}\n\
         exporters: {{debug: {{}}, debug/{name}: {{}}}}\n\
         service: {{pipelines: {{metrics: {{receivers: [hostmetrics], exporters: [debug]}}}}}}\n"
    )
}

/// A config that passes `validate` and ends at its start: there is no such address.
fn broken() -> String {
    site("broken")
        .replace(
            "exporters: {debug: {}",
            "  otlp: {protocols: {grpc: {endpoint: '192.0.2.1:4317'}}}\nexporters: {debug: {}",
        )
        .replace(
            "receivers: {hostmetrics: {collection_interval: 10s, scrapers: {memory: {}}}}\n",
            "receivers:\n  hostmetrics: {scrapers: {memory: {}}}\n",
        )
        .replace("receivers: [hostmetrics]", "receivers: [hostmetrics, otlp]")
}

/// The kernel, its modules, and a busybox.
struct Parts {
    dir: PathBuf,
    bundle: PathBuf,
}

/// Makes everything that takes long, once for all tests.
fn parts() -> Result<Parts, String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    for tool in ["qemu-system-aarch64", "mke2fs", "tar", "apt-get", "dpkg-deb"] {
        program(tool).ok_or_else(|| format!("{tool} is missing"))?;
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("arm64");
    if !dir.join("vmlinuz").exists() {
        kernel(&dir)?;
    }
    let collector = xtask(&["collector", "--small", "--target", PROCESSOR])?;
    fs::write(dir.join("site.yaml"), site("first")).unwrap();
    let config = dir.join("site.yaml").display().to_string();
    let bundle = xtask(&["bundle", "--target", PROCESSOR, "--collector", &collector, "--config", &config])?;
    Ok(Parts { bundle: bundle.into(), dir })
}

/// Runs `cargo xtask`, and returns the last line of its output: a path.
pub(super) fn xtask(words: &[&str]) -> Result<String, String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["run", "--quiet", "--package", "xtask", "--"]).args(words);
    // cargo's variables for this test would look like a change to build scripts that watch them.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_")
            || name == "CARGO_MANIFEST_DIR"
            || name == "OTELET_COLLECTOR"
        {
            cargo.env_remove(name);
        }
    }
    let output = cargo.output().map_err(|error| format!("cargo: {error}"))?;
    let said = stdout(&output);
    if !output.status.success() {
        return Err(format!("cargo xtask {}: {}", words[0], stderr(&output).lines().last().unwrap_or_default()));
    }
    Ok(said.lines().last().unwrap_or_default().to_owned())
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Debian's ARM64 kernel for clouds, the smallest that it has. apt gets a state directory of its own, so nothing is
/// registered with this machine.
fn kernel(dir: &Path) -> Result<(), String> {
    let apt = dir.join("apt");
    for name in ["lists/partial", "cache/archives/partial", "state"] {
        fs::create_dir_all(apt.join(name)).unwrap();
    }
    fs::write(apt.join("status"), "").unwrap();
    let sources = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
    let sources = sources.into_iter().find(|path| Path::new(path).exists()).ok_or("apt has no sources")?;
    let at = apt.display();
    let settings = format!(
        "APT::Architecture \"arm64\"; APT::Architectures {{\"arm64\";}};\nDir::State \"{at}/state\"; Dir::State::lists \"{at}/lists\";\n\
         Dir::State::status \"{at}/status\"; Dir::Cache \"{at}/cache\";\n\
         Dir::Etc::sourcelist \"{sources}\"; Dir::Etc::sourceparts \"-\";\n"
    );
    fs::write(dir.join("apt.conf"), settings).unwrap();
    let run = |name: &str, words: &[&str]| {
        let mut command = Command::new(name);
        command.args(words).current_dir(dir).env("APT_CONFIG", dir.join("apt.conf"));
        let output = command.output().map_err(|error| format!("{name}: {error}"))?;
        let said = stderr(&output);
        if output.status.success() { Ok(stdout(&output)) } else { Err(said.lines().last().unwrap_or(name).to_owned()) }
    };
    run("apt-get", &["update", "-q"])?;
    let depends = run("apt-cache", &["depends", "linux-image-cloud-arm64"])?;
    let image =
        depends.split_whitespace().find(|word| word.starts_with("linux-image-") && *word != "linux-image-cloud-arm64");
    run("apt-get", &["download", "-q", image.ok_or("no kernel for ARM64")?, "busybox-static"])?;
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".deb") {
            run("dpkg-deb", &["--extract", &name, "tree"])?;
        }
    }
    let found =
        |folder: &str, wanted: &str| find(&dir.join("tree").join(folder), wanted).ok_or(format!("no {wanted} in it"));
    for module in ["virtio_ring.ko", "virtio.ko", "virtio_mmio.ko", "virtio_blk.ko"] {
        fs::copy(found("lib/modules", module)?, dir.join(module)).unwrap();
    }
    fs::copy(found("bin", "busybox")?, dir.join("busybox")).unwrap();
    // The kernel comes last: its presence shows that the other files are complete.
    fs::copy(found("boot", "vmlinuz")?, dir.join("vmlinuz.new")).unwrap();
    fs::rename(dir.join("vmlinuz.new"), dir.join("vmlinuz")).unwrap();
    let _ = fs::remove_dir_all(dir.join("tree"));
    Ok(())
}

/// The first file whose name begins like this.
fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(dir).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() { find(&path, name) } else { entry.file_name().to_str()?.starts_with(name).then_some(path) }
    })
}

/// An archive that the kernel unpacks into its initial file system: "newc" of cpio(5).
fn initial(files: &[(&str, u32, Vec<u8>)]) -> Vec<u8> {
    let mut archive = Vec::new();
    let end = ("TRAILER!!!", 0, Vec::new());
    for (number, (name, mode, content)) in files.iter().chain([&end]).enumerate() {
        let fields = [number as u32, *mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        archive.extend(b"070701");
        archive.extend(fields.map(|field| format!("{field:08x}")).concat().bytes());
        archive.extend(name.bytes().chain([0]));
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(content);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

struct Machine {
    dir: PathBuf,
    kernel: PathBuf,
    memory: u32,
    qemu: Option<Child>,
}

impl Machine {
    /// A machine with a bundle in /opt, not installed. None where it cannot be made, after printing why.
    fn new(name: &str, memory: u32) -> Option<Self> {
        let parts = match parts() {
            Ok(parts) => parts,
            Err(why) => {
                println!("skipped: no emulated ARM64 machine: {why}");
                return None;
            }
        };
        let dir = std::env::temp_dir().join(format!("otelet-arm64-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let root = dir.join("root");
        for name in ["bin", "proc", "sys", "dev", "run", "tmp", "etc", "var/lib", "opt/bundle"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let unpack = |archive: &Path| {
            let mut tar = Command::new("tar");
            tar.arg("-xzf").arg(archive).arg("-C").arg(root.join("opt/bundle")).arg("--strip-components=1");
            assert!(tar.status().unwrap().success());
        };
        unpack(&parts.bundle);
        fs::copy(parts.dir.join("busybox"), root.join("bin/busybox")).unwrap();
        let put = |name: &str, text: &str| {
            fs::write(root.join(name), text).unwrap();
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        };
        put("init", INIT);
        put("tasks", TASKS);
        put("opt/scripted", SCRIPTED);
        put("opt/greedy", GREEDY);
        put("etc/passwd", "root:x:0:0::/:/bin/sh\n");
        // The Collector listens on localhost with its own metrics.
        put("etc/hosts", "127.0.0.1 localhost\n");
        put("etc/group", "root:x:0:\n");
        for name in ["second", "third", "fourth"] {
            put(&format!("opt/{name}"), &site(name));
        }
        put("opt/broken", &broken());
        let links = Command::new("sh")
            .current_dir(root.join("bin"))
            .args(["-c", "for name in sh cat mount ip sleep sync poweroff awk tr free cp mv chmod chown mkdir sed cmp grep head tail dirname \
                id uname sha256sum rm rmdir kill find touch cut wc sort; do ln -s busybox $name; done"])
            .status();
        let _ = links.unwrap();
        let made = Command::new(program("mke2fs").unwrap())
            .args(["-q", "-t", "ext4", "-E", "root_owner=0:0", "-d"])
            .arg(&root)
            .arg(dir.join("disk"))
            .arg("256M")
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", stderr(&made));
        let mut files = vec![
            ("dev", 0o40755, vec![]),
            ("disk", 0o40755, vec![]),
            ("bin", 0o40755, vec![]),
            ("bin/busybox", 0o100_755, fs::read(parts.dir.join("busybox")).unwrap()),
            ("init", 0o100_755, FIND_DISK.into()),
        ];
        for module in ["virtio_ring.ko", "virtio.ko", "virtio_mmio.ko", "virtio_blk.ko"] {
            files.push((module, 0o100_644, fs::read(parts.dir.join(module)).unwrap()));
        }
        fs::write(dir.join("initial"), initial(&files)).unwrap();
        Some(Self { dir, kernel: parts.dir.join("vmlinuz"), memory, qemu: None })
    }

    fn boot(&mut self, task: &str, argument: &str) {
        let _ = fs::remove_file(self.dir.join("console"));
        let qemu = Command::new("qemu-system-aarch64")
            .args(["-M", "virt", "-cpu", "cortex-a53", "-smp", "1", "-display", "none", "-no-reboot", "-nic", "none"])
            .args(["-m", &self.memory.to_string(), "-serial", &format!("file:{}", self.dir.join("console").display())])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(self.dir.join("initial"))
            .args(["-append", &format!("console=ttyAMA0 panic=-1 quiet box.task={task} box.argument={argument}")])
            .args(["-drive", &format!("if=none,file={},format=raw,id=disk", self.dir.join("disk").display())])
            .args(["-device", "virtio-blk-device,drive=disk"])
            .stdin(Stdio::null())
            .spawn();
        self.qemu = Some(qemu.unwrap());
    }

    fn console(&self) -> String {
        let bytes = fs::read(self.dir.join("console")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\r', "")
    }

    /// Waits until the console shows this text.
    fn says(&self, text: &str) {
        let look = || {
            let console = self.console();
            assert!(console.contains(text) || !console.contains("TASK-ENDED"), "no {text}: {console}");
            console.contains(text).then_some(())
        };
        wait_for_longer(LONG, text, look, || self.console());
    }

    /// Boots, waits for the successful end of the task, and returns the console's output.
    fn does(&mut self, task: &str) -> String {
        self.boot(task, "");
        self.says("TASK-ENDED ");
        let mut qemu = self.qemu.take().unwrap();
        wait_for_longer(LONG, "its power-off", || qemu.try_wait().unwrap(), || self.console());
        let console = self.console();
        assert!(console.contains("TASK-ENDED 0\n"), "{console}");
        console
    }

    fn pull_the_plug(&mut self) {
        if let Some(mut qemu) = self.qemu.take() {
            let _ = qemu.kill();
            let _ = qemu.wait();
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.pull_the_plug();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The number behind a word that begins a line.
fn number(console: &str, word: &str) -> u64 {
    let line = console.lines().find_map(|line| line.strip_prefix(word));
    line.and_then(|rest| rest.trim().parse().ok()).unwrap_or_else(|| panic!("no {word}: {console}"))
}

fn status(console: &str) -> serde_json::Value {
    let line = console.lines().find_map(|line| line.strip_prefix("STATUS "));
    line.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_else(|| panic!("no status: {console}"))
}

#[test]
#[ignore = "needs qemu-system-aarch64: cargo xtask check --real"]
fn a_box_of_64_mib_installs_a_bundle_without_a_network_and_runs_the_agent() {
    let Some(mut machine) = Machine::new("small", SMALL) else { return };
    let console = machine.does("installs");
    assert!(console.contains("install.sh: makes /usr/local/bin/otelcol\n"), "{console}");

    let console = machine.does("runs_a_script");
    let status = status(&console);
    assert_eq!(status["config"]["effective_hash"], hash(site("first")));
    assert_eq!(status["collector"]["healthy"], true);
    let agent = number(&console, "AGENT-KIB ");
    println!(
        "of {SMALL} MiB the kernel leaves {} KiB, {} KiB of them available; the agent takes {agent} KiB",
        number(&console, "MemTotal: "),
        number(&console, "MemAvailable: ")
    );
    // 2,180 KiB were measured; the rest is for another kernel.
    assert!(agent < 4_096, "{agent} KiB");

    machine.does("uninstalls");
}

#[test]
#[ignore = "needs qemu-system-aarch64: cargo xtask check --real"]
fn the_kernel_enforces_the_memory_limit_of_the_collector_below_the_agents_own_cgroup() {
    let Some(mut machine) = Machine::new("limit", WITH_COLLECTOR) else { return };
    machine.does("installs");

    let console = machine.does("limits");

    assert!(console.contains("LIMIT 16777216\n"), "{console}");
    assert!(console.contains("AGENT-IN 0::/unit/otelet-agent\n"), "{console}");
    assert!(console.contains("COLLECTOR-IN 0::/unit/otelet-collector\n"), "{console}");
    assert!(!console.contains("is advised"), "{console}");
    let status = status(&console);
    assert_eq!(status["collector"]["last_exit"]["how"], "signal 9 (SIGKILL)", "{status}");
    assert!(status["collector"]["restarts"].as_u64() >= Some(1), "{status}");
}

#[test]
#[ignore = "needs qemu-system-aarch64: cargo xtask check --real"]
fn a_power_cut_during_a_change_leaves_a_good_config() {
    let Some(mut machine) = Machine::new("cut", WITH_COLLECTOR) else { return };
    machine.does("installs");
    let console = machine.does("runs");
    assert_eq!(status(&console)["config"]["effective_hash"], hash(site("first")));
    println!(
        "agent and Collector in {WITH_COLLECTOR} MiB: {} KiB are still available",
        number(&console, "MemAvailable: ")
    );

    let mut good = vec![hash(site("first"))];
    for (name, moment) in [
        ("second", "offered; validating it"),
        ("third", "is valid; changing to it"),
        ("broken", "collector started: pid"),
        ("fourth", "collector healthy: "),
    ] {
        let body = if name == "broken" { broken() } else { site(name) };
        machine.boot("changes", name);
        machine.says("CHANGES");
        machine.says(&format!("config {} offered", &hash(&body)[..8]));
        // The first config has logged each moment once; this change logs it again.
        let after = |console: &str| console.split("CHANGES").nth(1).is_some_and(|rest| rest.contains(moment));
        wait_for_longer(LONG, moment, || after(&machine.console()).then_some(()), || machine.console());
        machine.pull_the_plug();

        if name != "broken" {
            good.push(hash(&body));
        }
        let console = machine.does("runs");
        let runs = status(&console)["config"]["effective_hash"].as_str().unwrap_or_default().to_owned();
        assert!(good.contains(&runs), "after a cut at '{moment}' it runs {runs}: {console}");
    }
}
