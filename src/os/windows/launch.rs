//! What a child is given on its way: its console and its priority, a job of its own, and how it is waited for.

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

/// A limit on memory, which the job of a child holds.
pub type MemoryGroup = u64;

/// What has to be done with a child as soon as there is one.
#[derive(Debug)]
pub struct Adoption(Option<OwnedHandle>);

/// Prepares the command's child as `launch` wants it: on the agent's terminal in a process group of its own or, where
/// there is none, on a console without a window.
pub fn prepare(command: &mut std::process::Command, launch: Launch) -> Adoption {
    let console = if has_terminal() { CREATE_NEW_PROCESS_GROUP } else { CREATE_NO_WINDOW };
    // Older collectors take this for an answer to whether they are a service; 0.149 asks the service manager.
    command.creation_flags(console | priority(launch.nice)).env("NO_WINDOWS_SERVICE", "1");
    let job = job(launch.group).inspect_err(|error| log::warn!("no job object for a child: {error}"));
    Adoption(job.ok())
}

impl Adoption {
    /// The child is there. What it has started in this moment ends with the agent, but not with the child.
    pub fn adopt(self, pid: u32) {
        if let Some(Err(error)) = self.0.map(|job| put_into(job, pid)) {
            log::debug!("process {pid} is in no job of its own: {error}");
        }
    }
}

/// The priority class that is nearest to a niceness, -20 to 19.
fn priority(nice: Option<i32>) -> u32 {
    match nice.unwrap_or(0) {
        ..=-11 => HIGH_PRIORITY_CLASS,
        -10..=-1 => ABOVE_NORMAL_PRIORITY_CLASS,
        0 => NORMAL_PRIORITY_CLASS,
        1..=10 => BELOW_NORMAL_PRIORITY_CLASS,
        11.. => IDLE_PRIORITY_CLASS,
    }
}

/// There are no users by number here. The settings refuse it before.
///
/// # Errors
///
/// Always.
pub fn user(_: &str) -> Result<User, String> {
    Err("collector.run_as: not on Windows; the collector runs as the agent does".into())
}

/// A limit for the job of a child, in bytes.
///
/// # Errors
///
/// None here.
pub fn memory_group(limit: u64) -> Result<MemoryGroup, String> {
    Ok(limit)
}

/// A child to be, with the names of `smol::process`: that one waits with a reactor and a thread of its own.
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
    /// One more argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.command.arg(argument);
        self
    }

    /// More arguments.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.command.args(arguments);
        self
    }

    /// One more variable.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.command.env(name, value);
        self
    }

    /// What it reads.
    pub fn stdin(&mut self, from: Stdio) -> &mut Self {
        self.command.stdin(from);
        self
    }

    /// Where it prints to.
    pub fn stdout(&mut self, to: Stdio) -> &mut Self {
        self.command.stdout(to);
        self
    }

    /// Where it complains to.
    pub fn stderr(&mut self, to: Stdio) -> &mut Self {
        self.command.stderr(to);
        self
    }

    /// Whether it ends when nobody waits for it any more.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Self {
        self.kill_on_drop = kill;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// As Windows says.
    pub fn spawn(&mut self) -> io::Result<Child> {
        Ok(Child { child: self.command.spawn()?, kill_on_drop: self.kill_on_drop })
    }
}

/// A child that runs.
#[derive(Debug)]
pub struct Child {
    child: std::process::Child,
    kill_on_drop: bool,
}

impl Child {
    /// Its pid.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// As Windows says.
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

/// Children are waited for by [`block_on`](crate::os::block_on) itself.
pub async fn driver() {}
