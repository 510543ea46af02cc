//! On a terminal the status has colours and fits the terminal's width; `--watch` stays until ^C and leaves the terminal
//! as it was.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use super::host::{Host, Signal, config, short, signal, stdout, wait_until};

/// A terminal, and the output on it.
struct Terminal {
    slave: OwnedFd,
    output: Arc<Mutex<String>>,
}

impl Terminal {
    fn new(columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap().into();
        tcsetwinsize(&slave, Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let output: Arc<Mutex<String>> = Arc::default();
        let text = output.clone();
        thread::spawn(move || {
            let (mut master, mut buffer) = (File::from(master), [0; 4096]);
            while let Ok(length @ 1..) = master.read(&mut buffer) {
                *text.lock().unwrap() += &String::from_utf8_lossy(&buffer[..length]);
            }
        });
        Self { slave, output }
    }

    fn run(&self, host: &Host, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
        let mut command: Command = host.command();
        command.args(arguments).arg(format!("--settings={}", host.settings_file().display()));
        command.env("TERM", "xterm").envs(environment.iter().copied());
        command.stdout(self.slave.try_clone().unwrap()).stderr(Stdio::inherit()).spawn().unwrap()
    }

    /// The output, with the line ends of a file.
    fn output(&self) -> String {
        self.output.lock().unwrap().replace("\r\n", "\n")
    }

    /// The whole output of a command.
    fn output_of(&self, host: &Host, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let before = self.output().len();
        assert!(self.run(host, arguments, environment).wait().unwrap().success());
        wait_until("the last line", || self.output()[before..].contains("host") && self.output().ends_with('\n'));
        self.output()[before..].to_owned()
    }
}

fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain += before;
        rest = after.split_once('m').unwrap().1;
    }
    plain + rest
}

#[test]
fn colours_and_width_fit_the_terminal() {
    let host = Host::new();
    let _agent = host.agent_running(&config("good"));
    let terminal = Terminal::new(44, 50);

    let painted = terminal.output_of(&host, &["status"], &[]);

    assert!(painted.contains("\x1b[32mup\x1b[0m"), "{painted}");
    let plain = without_colours(&painted);
    assert!(plain.lines().all(|line| line.chars().count() <= 44), "{plain}");
    assert!(plain.contains(&format!("config      {}\n", short(&config("good")))), "{plain}");
    for without in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let screen = terminal.output_of(&host, &["status"], &[without]);
        assert!(!screen.contains('\x1b'), "{without:?}: {screen:?}");
    }
    let piped = stdout(&host.otelet(&["status"]));
    assert!(!piped.contains('\x1b') && piped.lines().any(|line| line.chars().count() > 44), "{piped}");
}

#[test]
fn a_watch_runs_until_it_is_interrupted_and_leaves_the_terminal_as_it_was() {
    let host = Host::new();
    let agent = host.agent_running(&config("first"));
    let terminal = Terminal::new(80, 12);
    let modes = |terminal: &Terminal| {
        let modes = tcgetattr(&terminal.slave).unwrap();
        (modes.input_modes, modes.output_modes, modes.local_modes, modes.control_modes)
    };
    let before = modes(&terminal);
    let mut watch = terminal.run(&host, &["status", "--watch"], &[]);
    wait_until("the first frame", || terminal.output().contains(&short(&config("first"))));

    host.server.offer(config("second"));
    agent.applied(&config("second"));

    wait_until("a frame with the change", || terminal.output().contains(&short(&config("second"))));
    wait_until("what there is no room for", || terminal.output().contains(" more\x1b[0m\x1b[K"));
    signal(watch.id(), Signal::INT);
    assert!(watch.wait().unwrap().success());
    wait_until("the end", || terminal.output().ends_with("\x1b[0m\n"));
    assert_eq!(modes(&terminal), before);
    let output = terminal.output();
    let frames: Vec<_> = output.split("\x1b[H").skip(1).collect();
    assert!(frames.len() >= 2);
    for frame in frames {
        assert!(frame.matches('\n').count() <= 12, "a frame that scrolls: {frame:?}");
    }
    assert!(!output.contains("\x1b[?"), "no mode was set that somebody would have to reset: {output:?}");
}

#[test]
fn without_a_terminal_frames_follow_each_other() {
    let host = Host::new();
    let mut agent = host.agent_running(&config("good"));
    let out = host.path("frames");
    let settings = format!("--settings={}", host.settings_file().display());
    let watch = |arguments: &[&str]| {
        let out = File::create(&out).unwrap();
        host.command().args(["status", "--watch", &settings]).args(arguments).stdout(out).spawn().unwrap()
    };
    let text = || std::fs::read_to_string(&out).unwrap();

    let mut plain = watch(&[]);
    wait_until("two frames", || text().matches("--- 20").count() >= 2);
    assert!(!text().contains('\x1b'));
    agent.kill();
    wait_until("a frame without the agent", || text().contains("\notelet: agent is not running; "));
    assert!(text().contains("\nagent       gone, for "), "{}", text());
    signal(plain.id(), Signal::TERM);
    assert!(plain.wait().unwrap().success());

    let mut json = watch(&["--json"]);
    wait_until("two objects", || text().matches('\n').count() >= 2);
    signal(json.id(), Signal::INT);
    assert!(json.wait().unwrap().success());
    for line in text().lines() {
        serde_json::from_str::<otelet_wire::status::Status>(line).unwrap();
    }
}

#[test]
fn an_agent_that_hangs_does_not_hold_the_watch() {
    let host = Host::new();
    let agent = host.agent_running(&config("good"));
    let terminal = Terminal::new(80, 50);
    let mut watch = terminal.run(&host, &["status", "--watch"], &[]);
    wait_until("the first frame", || terminal.output().contains("\x1b[J"));
    agent.signal(Signal::STOP);
    wait_until("a frame that says so", || terminal.output().contains("does not answer within 3s"));

    signal(watch.id(), Signal::INT);

    assert!(watch.wait().unwrap().success());
    agent.signal(Signal::CONT);
}
