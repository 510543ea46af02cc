//! The start of a child: its console, its priority, a job of its own, and the wait for its end.

use std::ffi::OsStr;
use std::io;
use std::os::windows::io::{AsHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::process::{ExitStatus, Stdio};

use windows_sys::Win32::System::Threading::{
    ABOVE_NORMAL_PRIORITY_CLASS, BELOW_NORMAL_PRIORITY_CLASS, CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW,
    HIGH_PRIORITY_CLASS, IDLE_PRIORITY_CLASS, NORMAL_PRIORITY_CLASS,
};

use super::console::has_terminal;
use super::process::{job, put_into};
use super::wait::ready;
use crate::os::{Launch, User};

/// The work on a child right after its start: it is put into its job.
#[derive(Debug)]
pub struct Adoption(Option<OwnedHandle>);

/// Prepares the command's child with the properties of `launch`. With a terminal, the child gets a process group of its
/// own on it; without one, it gets a console without a window.
pub fn prepare(command: &mut std::process::Command, launch: Launch) -> Adoption {
    let console = if has_terminal() { CREATE_NEW_PROCESS_GROUP } else { CREATE_NO_WINDOW };
    // Older collectors decide by this variable whether they are a service; 0.149 asks the service manager.
    command.creation_flags(console | priority(launch.nice)).env("NO_WINDOWS_SERVICE", "1");
    let job = job(launch.group).inspect_err(|error| log::warn!("no job object for a child: {error}"));
    Adoption(job.ok())
}

impl Adoption {
    /// Puts the child into its job. A process that it has started before this ends with the agent, but not with the
    /// child.
    pub fn adopt(self, pid: u32) {
        if let Some(Err(error)) = self.0.map(|job| put_into(job, pid)) {
            log::debug!("process {pid} is in no job of its own: {error}");
        }
    }
}

/// The priority class nearest to a niceness, -20 to 19.
fn priority(nice: Option<i32>) -> u32 {
    match nice.unwrap_or(0) {
        ..=-11 => HIGH_PRIORITY_CLASS,
        -10..=-1 => ABOVE_NORMAL_PRIORITY_CLASS,
        0 => NORMAL_PRIORITY_CLASS,
        1..=10 => BELOW_NORMAL_PRIORITY_CLASS,
        11.. => IDLE_PRIORITY_CLASS,
    }
}

/// Does nothing here: a service inherits no handles, and others cannot be listed.
pub fn keep_descriptors() {}

/// Windows has no users by number. The settings refuse `collector.run_as` before.
///
/// # Errors
///
/// Always.
pub fn user(_: &str) -> Result<User, String> {
    Err("collector.run_as: not on Windows; the collector runs as the agent does".into())
}

/// A command with the interface of `smol::process`. That one would need a reactor and a thread of its own to wait.
#[derive(Debug)]
pub struct Command {
    command: std::process::Command,
    kill_on_drop: bool,
}

impl From<std::process::Command> for Command {
    fn from(command: std::process::Command) -> Self {
        Self { command, kill_on_drop: false }
    }
}

impl Command {
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.command.arg(argument);
        self
    }

    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.command.args(arguments);
        self
    }

    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.command.env(name, value);
        self
    }

    pub fn stdin(&mut self, from: Stdio) -> &mut Self {
        self.command.stdin(from);
        self
    }

    pub fn stdout(&mut self, to: Stdio) -> &mut Self {
        self.command.stdout(to);
        self
    }

    pub fn stderr(&mut self, to: Stdio) -> &mut Self {
        self.command.stderr(to);
        self
    }

    /// Whether the child is killed when its [`Child`] is dropped.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Self {
        self.kill_on_drop = kill;
        self
    }

    /// Starts the child.
    ///
    /// # Errors
    ///
    /// The error of Windows.
    pub fn spawn(&mut self) -> io::Result<Child> {
        Ok(Child { child: self.command.spawn()?, kill_on_drop: self.kill_on_drop })
    }
}

/// A child process.
#[derive(Debug)]
pub struct Child {
    child: std::process::Child,
    kill_on_drop: bool,
}

impl Child {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of the child.
    ///
    /// # Errors
    ///
    /// The error of Windows.
    pub async fn status(&mut self) -> io::Result<ExitStatus> {
        ready(&self.child.as_handle()).await;
        self.child.wait()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.kill_on_drop {
            let _ = self.child.kill();
        }
    }
}

/// Does nothing here: [`block_on`](crate::os::block_on) itself waits for children.
pub async fn driver() {}
