//! Unix, which here means Linux first: one `ppoll` that waits for everything, signals, processes, descriptors.
//!
//! The main thread waits in [`block_on`] and nowhere else. smol's own reactor would do too, but it hands itself to and
//! fro between two threads at each timer: six more wake-ups a tick, on hosts where each one costs battery.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags};

use super::{Launch, Signal, User};

// ---- Waiting -------------------------------------------------------------------------------------------------------

/// Wakes the main thread from others and from signal handlers: one eventfd for all of it.
static WAKE: OnceLock<WakeUp> = OnceLock::new();

struct WakeUp {
    fd: OwnedFd,
    main: ThreadId,
    /// Set while the main thread has something to do and need not be woken.
    pending: AtomicBool,
}

impl WakeUp {
    fn ring(&self) {
        // A full counter means that it is ringing already.
        let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
    }
}

struct MainWaker;

impl Wake for MainWaker {
    fn wake(self: Arc<Self>) {
        if let Some(wake) = WAKE.get()
            && !wake.pending.swap(true, Ordering::SeqCst)
            && std::thread::current().id() != wake.main
        {
            wake.ring();
        }
    }
}

thread_local! {
    static WAITING: RefCell<Vec<Waiting>> = const { RefCell::new(Vec::new()) };
    static TIMERS: RefCell<Vec<Timer>> = const { RefCell::new(Vec::new()) };
    static SIGNALS: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

/// A descriptor that somebody waits to read from or write to.
struct Waiting {
    fd: i32,
    flags: PollFlags,
    ready: Rc<Cell<bool>>,
    waker: Waker,
}

/// A time that somebody waits for.
struct Timer {
    at: Instant,
    /// Tells waits for the same time apart.
    id: Rc<()>,
    waker: Waker,
}

/// Runs the future on this thread until it is done. Called once, on the main thread.
///
/// # Errors
///
/// If the kernel gives no eventfd.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let wake = WAKE.get_or_init(|| WakeUp { fd, main: std::thread::current().id(), pending: AtomicBool::new(false) });
    let waker = Waker::from(Arc::new(MainWaker));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        wake.pending.store(false, Ordering::SeqCst);
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Ok(value);
        }
        if !wake.pending.load(Ordering::SeqCst) {
            wait(wake)?;
        }
    }
}

/// Sleeps until a descriptor is ready, the deadline has come, a signal has arrived or another thread rings.
fn wait(wake: &WakeUp) -> io::Result<()> {
    let next = TIMERS.with_borrow(|timers| timers.iter().map(|timer| timer.at).min());
    let timeout = next.map(|at| {
        let left = at.saturating_duration_since(Instant::now());
        rustix::event::Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
    });
    let mut ready = Vec::new();
    WAITING.with_borrow(|waiting| -> io::Result<()> {
        let mut fds = Vec::with_capacity(waiting.len() + 1);
        fds.push(PollFd::new(&wake.fd, PollFlags::IN));
        for one in waiting {
            // SAFETY: whoever waits in `ready_for` borrows the descriptor for as long as it is in this list.
            let fd = unsafe { BorrowedFd::borrow_raw(one.fd) };
            fds.push(PollFd::from_borrowed_fd(fd, one.flags));
        }
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            // A signal: its handler has rung.
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if !fds[0].revents().is_empty() {
            let _ = rustix::io::read(&wake.fd, &mut [0_u8; 8]);
        }
        ready.extend(fds[1..].iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty()).map(|(index, _)| index));
        Ok(())
    })?;
    for index in ready.into_iter().rev() {
        let one = WAITING.with_borrow_mut(|waiting| waiting.swap_remove(index));
        one.ready.set(true);
        one.waker.wake();
    }
    let now = Instant::now();
    let due: Vec<Timer> = TIMERS.with_borrow_mut(|timers| timers.extract_if(.., |timer| timer.at <= now).collect());
    due.into_iter().for_each(|timer| timer.waker.wake());
    if ARRIVED.load(Ordering::SeqCst) != 0
        && let Some(waker) = SIGNALS.take()
    {
        waker.wake();
    }
    Ok(())
}

/// Completes at this time.
pub async fn until(at: Instant) {
    /// Takes the time off the list when the wait is given up.
    struct Leave(Rc<()>);
    impl Drop for Leave {
        fn drop(&mut self) {
            let _ = TIMERS.try_with(|timers| timers.borrow_mut().retain(|timer| !Rc::ptr_eq(&timer.id, &self.0)));
        }
    }
    let leave = Leave(Rc::new(()));
    poll_fn(|context| {
        if Instant::now() >= at {
            return Poll::Ready(());
        }
        TIMERS.with_borrow_mut(|timers| {
            timers.retain(|timer| !Rc::ptr_eq(&timer.id, &leave.0));
            timers.push(Timer { at, id: leave.0.clone(), waker: context.waker().clone() });
        });
        Poll::Pending
    })
    .await;
}

/// Completes when the descriptor can be read, or has been closed by its other side.
pub async fn readable(fd: &impl AsFd) {
    ready_for(fd.as_fd(), PollFlags::IN).await;
}

async fn ready_for(fd: BorrowedFd<'_>, flags: PollFlags) {
    /// Takes the descriptor off the list when the wait is given up.
    struct Leave(Rc<Cell<bool>>);
    impl Drop for Leave {
        fn drop(&mut self) {
            let _ = WAITING.try_with(|waiting| waiting.borrow_mut().retain(|one| !Rc::ptr_eq(&one.ready, &self.0)));
        }
    }
    let ready = Rc::new(Cell::new(false));
    let leave = Leave(ready.clone());
    poll_fn(|context| {
        if ready.get() {
            return Poll::Ready(());
        }
        WAITING.with_borrow_mut(|waiting| {
            waiting.retain(|one| !Rc::ptr_eq(&one.ready, &ready));
            waiting.push(Waiting { fd: fd.as_raw_fd(), flags, ready: ready.clone(), waker: context.waker().clone() });
        });
        Poll::Pending
    })
    .await;
    drop(leave);
}

// ---- Signals -------------------------------------------------------------------------------------------------------

/// One bit for each [`Signal`] that has arrived and was not taken yet.
static ARRIVED: AtomicU32 = AtomicU32::new(0);

const SIGNAL_TABLE: [(i32, Signal); 5] = [
    (signal_hook::consts::SIGTERM, Signal::Stop),
    (signal_hook::consts::SIGINT, Signal::Stop),
    (signal_hook::consts::SIGHUP, Signal::Reload),
    (signal_hook::consts::SIGUSR1, Signal::Poke),
    (signal_hook::consts::SIGCHLD, Signal::ChildEnded),
];

/// Takes over the signals above. Those that arrive before [`block_on`] runs are not lost.
///
/// # Errors
///
/// If the kernel refuses a handler.
pub fn catch_signals() -> io::Result<()> {
    for (bit, (number, signal)) in SIGNAL_TABLE.into_iter().enumerate() {
        if signal == Signal::ChildEnded && !is_pid_1() {
            continue;
        }
        // SAFETY: the handler touches an atomic and writes to an eventfd: both are async-signal-safe.
        unsafe {
            signal_hook::low_level::register(number, move || {
                ARRIVED.fetch_or(1 << bit, Ordering::SeqCst);
                if let Some(wake) = WAKE.get() {
                    wake.ring();
                }
            })?;
        }
    }
    Ok(())
}

/// The next signal. One task waits for them.
pub async fn signal() -> Signal {
    poll_fn(|context| {
        SIGNALS.set(Some(context.waker().clone()));
        let arrived = ARRIVED.load(Ordering::SeqCst);
        let Some(bit) = (0..SIGNAL_TABLE.len()).find(|bit| arrived & (1 << bit) != 0) else {
            return Poll::Pending;
        };
        ARRIVED.fetch_and(!(1 << bit), Ordering::SeqCst);
        Poll::Ready(SIGNAL_TABLE[bit].1)
    })
    .await
}

/// Has a running agent look for a request and write its status.
///
/// # Errors
///
/// If the process is gone or belongs to somebody else.
pub fn poke(pid: u32) -> io::Result<()> {
    Ok(rustix::process::kill_process(pid_of(pid)?, rustix::process::Signal::USR1)?)
}

// ---- Processes -----------------------------------------------------------------------------------------------------

/// Whether the agent is the first process, as in a container: then it also reaps strangers.
pub fn is_pid_1() -> bool {
    std::process::id() == 1
}

/// Reaps children that are not ours, which only PID 1 gets. `ours` are left to whoever waits for them: one of them that
/// has ended and was not taken yet hides those behind it, so call this again when it was.
pub fn reap_strangers(ours: &[u32]) {
    loop {
        // SAFETY: the kernel fills the structure that it is given; zeros are valid in all of its fields.
        let pid = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            match libc::waitid(libc::P_ALL, 0, &mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) {
                0 => info.si_pid(),
                _ => return,
            }
        };
        let Some(stranger) = u32::try_from(pid).ok().filter(|pid| *pid != 0 && !ours.contains(pid)) else { return };
        if let Ok(stranger) = pid_of(stranger) {
            let _ = rustix::process::waitpid(Some(stranger), rustix::process::WaitOptions::NOHANG);
        }
    }
}

/// Makes the command's child a leader of its own process group that ends with the agent, as `launch` wants it.
///
/// The signal at the agent's death follows the *thread* that starts the child: call `spawn` on the main thread only.
pub fn prepare(command: &mut Command, launch: Launch) {
    let agent = rustix::process::getpid();
    let oom_score_adj = launch.oom_score_adj.map(|score| score.to_string());
    command.process_group(0);
    // SAFETY: between fork and exec only system calls are made, on values prepared before: nothing allocates or locks.
    unsafe {
        command.pre_exec(move || {
            if let Some(cgroup) = &launch.cgroup {
                // "0" is whoever writes it.
                rustix::io::write(cgroup, b"0")?;
            }
            if let Some(score) = &oom_score_adj {
                use rustix::fs::{Mode, OFlags};
                let file =
                    rustix::fs::open(c"/proc/self/oom_score_adj", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
                rustix::io::write(&file, score.as_bytes())?;
            }
            if let Some(nice) = launch.nice {
                rustix::process::setpriority_process(None, nice)?;
            }
            if let Some(user) = launch.user {
                use rustix::process::{Gid, Uid};
                rustix::thread::set_thread_groups(&[])?;
                rustix::thread::set_thread_gid(Gid::from_raw(user.gid))?;
                rustix::thread::set_thread_uid(Uid::from_raw(user.uid))?;
            }
            // Last, since a change of user clears it. SIGTERM lets the collector drain what it holds.
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
            if rustix::process::getppid() != Some(agent) {
                return Err(rustix::io::Errno::CHILD.into());
            }
            Ok(())
        });
    }
}

/// Asks the process to end.
pub fn terminate(pid: u32) {
    if let Ok(pid) = pid_of(pid) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        // A stopped process takes the signal only when it goes on.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::CONT);
    }
}

/// Ends the process and everything in its process group now.
pub fn kill_group(pid: u32) {
    if let Ok(pid) = pid_of(pid) {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Ends what a collector that has ended left in its process group.
pub fn sweep_group(pid: u32) {
    if let Ok(pid) = pid_of(pid) {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

/// When the process started, in clock ticks since boot: with the pid, a name that is not used twice. Source: the 22nd
/// field of `/proc/PID/stat` (proc(5)). None if there is no such process, or only its remains.
pub fn process_start(pid: u32) -> Option<u64> {
    let (state, fields) = process_stat(pid)?;
    if state == 'Z' { None } else { fields.split_whitespace().nth(18)?.parse().ok() }
}

/// Whether the process was stopped by a signal, which no health check of its own can tell.
pub fn is_stopped(pid: u32) -> bool {
    process_stat(pid).is_some_and(|(state, _)| matches!(state, 'T' | 't'))
}

/// State, and the fields after it. The name before them may hold anything, spaces and brackets too.
fn process_stat(pid: u32) -> Option<(char, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = stat.rsplit_once(") ")?.1;
    Some((rest.chars().next()?, rest.get(2..)?.to_owned()))
}

/// Leaders of process groups that carry this in their environment, but are not children of this process: what an earlier
/// agent left. Source: `/proc/PID/environ`, which only shows processes of the same user, or all of them to root.
pub fn find_marked(marker: &str) -> Vec<u32> {
    let own = std::process::id().to_string();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else { return false };
        let marked = environ.split(|byte| *byte == 0).any(|entry| entry == marker.as_bytes());
        marked
            && process_stat(*pid).is_some_and(|(state, fields)| {
                let mut fields = fields.split_whitespace();
                let (parent, group) = (fields.next(), fields.next());
                state != 'Z' && parent != Some(&own) && group == Some(&pid.to_string())
            })
    })
    .collect()
}

/// Completes when a process that is not our child has ended.
pub async fn gone(pid: u32) {
    let fd = pid_of(pid).ok().and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    match fd {
        Some(fd) => readable(&fd).await,
        // Kernels before 5.3.
        None => {
            while process_start(pid).is_some() {
                until(Instant::now() + Duration::from_millis(100)).await;
            }
        }
    }
}

fn pid_of(pid: u32) -> io::Result<Pid> {
    // 0 and negative numbers would mean whole groups of processes.
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .filter(|pid| pid.as_raw_nonzero().get() > 1)
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// `name`, `name:group` or numbers, looked up in `/etc/passwd` and `/etc/group`.
///
/// # Errors
///
/// In words, if there is no such user or group.
pub fn user(text: &str) -> Result<User, String> {
    let (name, group) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() > 3 && (fields[0] == name || fields[2] == name));
    let uid = match &entry {
        Some(fields) => fields[2].parse().ok(),
        None => name.parse().ok(),
    };
    let uid = uid.ok_or_else(|| {
        format!("collector.run_as: there is no user {name:?} in /etc/passwd; give a number if it is known elsewhere")
    })?;
    let gid = match (group, &entry) {
        (Some(group), _) => {
            let groups = fs::read_to_string("/etc/group").unwrap_or_default();
            let known = groups
                .lines()
                .map(|line| line.split(':').collect::<Vec<_>>())
                .find(|fields| fields.len() > 2 && fields[0] == group);
            known
                .and_then(|fields| fields[2].parse().ok())
                .or_else(|| group.parse().ok())
                .ok_or_else(|| format!("collector.run_as: there is no group {group:?} in /etc/group"))?
        }
        (None, Some(fields)) => {
            fields[3].parse().map_err(|_| format!("collector.run_as: /etc/passwd has no group for {name:?}"))?
        }
        (None, None) => uid,
    };
    Ok(User { uid, gid })
}

/// Makes a cgroup (v2) below the agent's own with this memory limit in bytes, and opens it for a child to enter.
///
/// # Errors
///
/// In words, where there is no cgroup v2 or the agent may not make one: the limit is then only advised by GOMEMLIMIT.
pub fn memory_cgroup(limit: u64) -> Result<File, String> {
    let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("/proc/self/cgroup: {error}"))?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or("no cgroup v2 here")?;
    let parent = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    if !parent.join("cgroup.controllers").exists() {
        return Err("no cgroup v2 is mounted at /sys/fs/cgroup".into());
    }
    let group = parent.join("otelet-collector");
    fs::create_dir_all(&group).map_err(|error| format!("{}: {error}", group.display()))?;
    let max = group.join("memory.max");
    fs::write(&max, limit.to_string()).map_err(|error| format!("{}: {error}", max.display()))?;
    let procs = group.join("cgroup.procs");
    fs::OpenOptions::new().write(true).open(&procs).map_err(|error| format!("{}: {error}", procs.display()))
}

/// What is wrong with a program that the kernel would not start, in words.
pub fn describe_spawn_error(program: &Path, error: &io::Error) -> String {
    let name = program.display();
    match error.kind() {
        io::ErrorKind::NotFound if program.exists() => {
            format!("{name}: its interpreter or loader is missing (a binary for another libc?)")
        }
        io::ErrorKind::NotFound => format!("{name}: no such file; set collector.path or put the collector there"),
        io::ErrorKind::PermissionDenied => {
            format!("{name}: permission denied; is it executable, and is its file system mounted noexec?")
        }
        _ if error.raw_os_error() == Some(8) => match elf_machine(program) {
            Some(machine) => format!("{name}: is built for {machine}, this host is {}", std::env::consts::ARCH),
            None => format!("{name}: is not a program that this host can run"),
        },
        _ => format!("{name}: {error}"),
    }
}

/// What is wrong with a program whose first bytes say that the kernel would not run it.
///
/// Asked before it is started, because std does that by `execvp`, and glibc's has a shell read what the kernel refuses: a
/// binary for another architecture, or half a download, would be taken for a script. musl's does not.
pub fn foreign(program: &Path) -> Option<String> {
    let mut start = [0; 2];
    let read = File::open(program).and_then(|mut file| file.read(&mut start)).ok()?;
    let runs = match elf_machine(program) {
        Some(machine) => {
            let host = rustix::system::uname().machine().to_string_lossy().into_owned();
            let known: &[&str] = match &*host {
                "x86_64" => &["x86_64", "x86"],
                "aarch64" | "armv8l" => &["aarch64", "arm"],
                "riscv64" => &["riscv64"],
                arm if arm.starts_with("arm") => &["arm"],
                // Not known well enough to judge.
                _ => return None,
            };
            // An emulator may be registered: `/proc/sys/fs/binfmt_misc` has two files of its own.
            let emulators = fs::read_dir("/proc/sys/fs/binfmt_misc").map_or(0, |entries| entries.flatten().count());
            known.contains(&&*machine) || emulators > 2
        }
        None => read == 2 && start == *b"#!",
    };
    (!runs).then(|| describe_spawn_error(program, &rustix::io::Errno::NOEXEC.into()))
}

/// The architecture in an ELF header. Source: `e_machine`, bytes 18 and 19 (elf(5)).
fn elf_machine(program: &Path) -> Option<String> {
    let mut header = [0; 20];
    File::open(program).ok()?.read_exact(&mut header).ok()?;
    if header[..4] != *b"\x7fELF" {
        return None;
    }
    let machine = match header[5] {
        2 => u16::from_be_bytes([header[18], header[19]]),
        _ => u16::from_le_bytes([header[18], header[19]]),
    };
    Some(match machine {
        3 => "x86".into(),
        40 => "arm".into(),
        62 => "x86_64".into(),
        183 => "aarch64".into(),
        243 => "riscv64".into(),
        other => format!("machine {other}"),
    })
}

// ---- Descriptors ---------------------------------------------------------------------------------------------------

/// The reading side of what a child prints. stdout and stderr share it, so that the order is kept.
#[derive(Debug)]
pub struct Output(OwnedFd);

/// A pipe: what the agent reads, and what the child writes.
///
/// # Errors
///
/// If the kernel gives none.
pub fn output() -> io::Result<(Output, OwnedFd)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    Ok((Output(read), write))
}

impl Output {
    /// Waits for bytes; 0 is the end.
    ///
    /// # Errors
    ///
    /// As the kernel says.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(&self.0, &mut *buffer) {
                Err(rustix::io::Errno::AGAIN) => readable(&self.0).await,
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// What is there now, without waiting: the last words of a child that has ended.
    pub fn read_now(&self, buffer: &mut [u8]) -> usize {
        rustix::io::read(&self.0, buffer).unwrap_or(0)
    }
}

/// Columns and rows of the terminal that stdout is, if it is one and says so.
pub fn terminal() -> Option<(usize, usize)> {
    let stdout = io::stdout();
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

/// Writes to the agent's stderr, but never waits for its reader: a log driver that stalls must not stall supervision.
/// Returns whether all of it was written.
///
/// A pipe that polls as writable takes 4096 bytes (`PIPE_BUF`) without blocking, so that much is written at a time. A
/// line that could not be ended is ended before the next one begins.
pub fn write_log(bytes: &[u8]) -> bool {
    static CUT: AtomicBool = AtomicBool::new(false);
    if CUT.load(Ordering::Relaxed) {
        if !write_without_waiting(b"\n") {
            return false;
        }
        CUT.store(false, Ordering::Relaxed);
    }
    for (number, chunk) in bytes.chunks(4096).enumerate() {
        if !write_without_waiting(chunk) {
            CUT.store(number > 0, Ordering::Relaxed);
            return false;
        }
    }
    true
}

fn write_without_waiting(chunk: &[u8]) -> bool {
    let stderr = io::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let ready = rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0);
    if !ready || fds[0].revents().intersects(PollFlags::ERR | PollFlags::NVAL) {
        return false;
    }
    let mut rest = chunk;
    while !rest.is_empty() {
        match rustix::io::write(&stderr, rest) {
            Ok(written) => rest = &rest[written..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// A connection on which nothing waits: connects, sends, and reads the first bytes of the answer, as a task.
///
/// # Errors
///
/// As the kernel says; [`io::ErrorKind::ConnectionReset`] when the other side closes without an answer.
pub async fn ask(address: SocketAddr, request: &[u8], answer: &mut [u8]) -> io::Result<usize> {
    let family = if address.is_ipv4() { rustix::net::AddressFamily::INET } else { rustix::net::AddressFamily::INET6 };
    let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, rustix::net::SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => {}
        Err(rustix::io::Errno::INPROGRESS) => ready_for(socket.as_fd(), PollFlags::OUT).await,
        Err(error) => return Err(error.into()),
    }
    let mut stream = TcpStream::from(socket);
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    // A request of a few bytes fits into any socket buffer.
    stream.write_all(request)?;
    readable(&stream).await;
    match stream.read(answer)? {
        0 => Err(io::ErrorKind::ConnectionReset.into()),
        read => Ok(read),
    }
}

/// A connection to a socket in the file system, on which nothing waits.
#[derive(Debug)]
pub struct LocalStream(UnixStream);

impl LocalStream {
    /// Connects now or not at all: a full queue of the other side is an error too.
    ///
    /// # Errors
    ///
    /// As the kernel says; a path over 107 bytes is not possible.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let address = rustix::net::SocketAddrUnix::new(path)?;
        let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
        let kind = rustix::net::SocketType::STREAM;
        let socket = rustix::net::socket_with(rustix::net::AddressFamily::UNIX, kind, flags, None)?;
        rustix::net::connect(&socket, &address)?;
        Ok(Self(UnixStream::from(socket)))
    }

    /// Waits for bytes, as a task; 0 is the end.
    ///
    /// # Errors
    ///
    /// As the kernel says.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&self.0).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => readable(&self.0).await,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Sends a few bytes, which fit into any socket buffer.
    ///
    /// # Errors
    ///
    /// As the kernel says.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes)
    }

    /// The same connection for a thread that may wait, but not beyond this time.
    ///
    /// # Errors
    ///
    /// As the kernel says.
    pub fn until(self, deadline: Instant) -> io::Result<PatientStream> {
        self.0.set_nonblocking(false)?;
        Ok(PatientStream { stream: self.0, deadline })
    }
}

/// A connection on which a thread waits, but not beyond a time.
#[derive(Debug)]
pub struct PatientStream {
    stream: UnixStream,
    deadline: Instant,
}

impl Read for PatientStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // Less than a microsecond would mean for ever.
        self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match self.stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
            other => other,
        }
    }
}

/// A socket for `sd_notify` messages of the collector.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

impl NotifySocket {
    /// Makes the socket, in place of one that an earlier agent left. `owner` may write to it.
    ///
    /// # Errors
    ///
    /// As the kernel says; a path over 107 bytes is not possible.
    pub fn new(path: &Path, owner: Option<User>) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let socket = UnixDatagram::bind(path)?;
        socket.set_nonblocking(true)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        if let Some(User { uid, gid }) = owner {
            std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
        }
        Ok(Self { socket, path: path.into() })
    }

    /// The next message.
    ///
    /// # Errors
    ///
    /// As the kernel says.
    pub async fn receive(&self) -> io::Result<String> {
        let mut buffer = [0; 512];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => return Ok(String::from_utf8_lossy(&buffer[..length]).into_owned()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => readable(&self.socket).await,
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for NotifySocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

// ---- Files ---------------------------------------------------------------------------------------------------------

/// Where the settings are looked for.
pub fn default_settings_path() -> PathBuf {
    "/etc/otelet/otelet.yaml".into()
}

/// Where this process runs, by what container engines and Kubernetes leave to be seen. In a pod nothing tells a
/// DaemonSet from a Deployment.
pub fn environment() -> crate::settings::Environment {
    use crate::settings::Environment;
    let service_account = Path::new("/var/run/secrets/kubernetes.io");
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && service_account.exists() {
        return Environment::DaemonSet;
    }
    let marks = ["/.dockerenv", "/run/.containerenv"];
    if marks.iter().any(|mark| Path::new(mark).exists()) { Environment::Docker } else { Environment::Host }
}

/// Makes a directory for the collector alone, whoever it runs as.
///
/// # Errors
///
/// As the kernel says.
pub fn directory_for(path: &Path, user: Option<User>) -> io::Result<()> {
    private_dir(path)?;
    let_read(path, user)
}

/// Where the last good config is kept.
pub fn default_state_dir() -> PathBuf {
    "/var/lib/otelet".into()
}

/// Where the status is written.
pub fn default_runtime_dir() -> PathBuf {
    "/run/otelet".into()
}

/// Makes the directory and those above it, for nobody but the agent.
///
/// # Errors
///
/// As the kernel says.
pub fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Lets the collector, if it runs as somebody else, pass through the directory to the one file that it is given.
///
/// # Errors
///
/// As the kernel says.
pub fn let_read(path: &Path, user: Option<User>) -> io::Result<()> {
    let Some(User { uid, gid }) = user else { return Ok(()) };
    std::os::unix::fs::chown(path, Some(uid), Some(gid))
}

/// Lets others pass through the directory, though not list it.
///
/// # Errors
///
/// As the kernel says.
pub fn let_pass(directory: &Path, user: Option<User>) -> io::Result<()> {
    if user.is_none() {
        return Ok(());
    }
    let mode = fs::metadata(directory)?.permissions().mode();
    fs::set_permissions(directory, fs::Permissions::from_mode(mode | 0o011))
}

/// A file for nobody but the agent, new or emptied.
///
/// # Errors
///
/// As the kernel says.
pub fn private_file(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
        .open(path)
}

/// A file for nobody but the agent, which must not be there yet.
///
/// # Errors
///
/// As the kernel says.
pub fn new_private_file(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Renames a file, but not over another one.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] if there is one, beside what the kernel says.
pub fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can; then there is a moment between the look and the renaming.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => match fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
        renamed => Ok(renamed?),
    }
}

/// Who may do what with a file, and whose it is: `0600 uid 0`.
pub fn describe_mode(metadata: &fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{:04o} uid {}", metadata.mode() & 0o7777, metadata.uid())
}

/// Makes a rename in this directory durable.
///
/// # Errors
///
/// As the kernel says.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Holds the file for this process alone, until it ends. The lock takes the place of stdin, which the agent never reads:
/// that keeps the number of descriptors down.
///
/// # Errors
///
/// [`io::ErrorKind::WouldBlock`] if another process holds it.
pub fn lock(path: &Path) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    rustix::stdio::dup2_stdin(&file)?;
    Ok(())
}

/// Whether some process holds the lock.
pub fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => true,
        Ok(()) | Err(_) => false,
    }
}

/// What tells this host from others, for as long as it lives: the machine id, or what there is instead. Empty if nothing.
pub fn host_fingerprint() -> String {
    ["/etc/machine-id", "/var/lib/dbus/machine-id", "/proc/device-tree/serial-number"]
        .iter()
        .find_map(|path| {
            fs::read_to_string(path)
                .ok()
                .map(|id| id.trim_matches(['\0', '\n', ' ']).to_owned())
                .filter(|id| !id.is_empty())
        })
        .unwrap_or_default()
}

/// The version of the host's kernel, as `uname -r` prints it.
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Opens a regular file for reading, or the one that a link leads to. It never waits, not even for the writer of a FIFO
/// that takes the file's place between the look and the opening.
///
/// # Errors
///
/// [`io::ErrorKind::Other`] for anything but a regular file, beside what the kernel says.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let regular = |metadata: fs::Metadata| match metadata.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("not a regular file")),
    };
    // The look before spares devices, some of which do something when they are merely opened.
    regular(fs::metadata(path)?)?;
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    regular(file.metadata()?)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_process_is_found_and_a_missing_one_is_none() {
        let own = process_start(std::process::id());
        assert!(own.is_some());
        assert_eq!(own, process_start(std::process::id()));
        assert_eq!(process_start(u32::MAX), None);
    }

    #[test]
    fn no_number_ever_means_a_group_or_everybody() {
        for pid in [0, 1, u32::MAX, i32::MAX as u32 + 1] {
            assert!(pid_of(pid).is_err(), "{pid}");
        }
    }

    #[test]
    fn a_user_is_known_by_name_or_number() {
        assert_eq!(user("root"), Ok(User { uid: 0, gid: 0 }));
        assert_eq!(user("0"), Ok(User { uid: 0, gid: 0 }));
        assert_eq!(user("4242:17"), Ok(User { uid: 4242, gid: 17 }));
        assert_eq!(user("4242"), Ok(User { uid: 4242, gid: 4242 }));
        let error = user("nobody-here").expect_err("there is no such user");
        assert!(error.starts_with("collector.run_as: there is no user \"nobody-here\""), "{error}");
    }

    #[test]
    fn a_program_that_cannot_run_is_explained() {
        let missing = Path::new("/nowhere/otelcol");
        let not_found = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(
            describe_spawn_error(missing, &not_found),
            "/nowhere/otelcol: no such file; set collector.path or put the collector there"
        );
    }

    #[test]
    fn a_fifo_that_takes_the_place_of_a_file_is_not_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};

        let dir = std::env::temp_dir().join(format!("otelet-open-{}", std::process::id()));
        private_dir(&dir).unwrap();
        let [path, file, fifo] = ["path", "file", "fifo"].map(|name| dir.join(name));
        fs::write(&path, "a").unwrap();
        let said: Vec<String> = std::thread::scope(|scope| {
            let swapping = scope.spawn(|| {
                for _ in 0..2_000 {
                    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
                    fs::rename(&fifo, &path).unwrap();
                    fs::write(&file, "a").unwrap();
                    fs::rename(&file, &path).unwrap();
                }
            });
            let opened = std::iter::from_fn(|| (!swapping.is_finished()).then(|| open_regular(&path)));
            opened.filter_map(|file| Some(file.err()?.to_string())).collect()
        });
        assert!(!said.is_empty() && said.iter().all(|error| error == "not a regular file"), "{said:?}");
        fs::remove_dir_all(&dir).unwrap();
    }
}
