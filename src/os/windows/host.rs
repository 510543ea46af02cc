//! The identity of this host, and the measurements for the samples of `src/observe/host`.

use std::io;
use std::path::Path;
use std::ptr::null_mut;
use std::time::{Duration, SystemTime};

use windows_sys::Wdk::System::SystemServices::RtlGetVersion;
use windows_sys::Win32::Foundation::{ERROR_SUCCESS, FILETIME};
use windows_sys::Win32::NetworkManagement::IpHelper::{FreeMibTable, GetIfTable2, MIB_IF_TABLE2};
use windows_sys::Win32::Storage::FileSystem::{
    GetDiskFreeSpaceExW, GetDriveTypeW, GetLogicalDrives, GetVolumeInformationW,
};
use windows_sys::Win32::System::ProcessStatus::{
    GetPerformanceInfo, GetProcessMemoryInfo, PERFORMANCE_INFORMATION, PROCESS_MEMORY_COUNTERS_EX,
};
use windows_sys::Win32::System::Registry::{HKEY_LOCAL_MACHINE, RRF_RT_REG_SZ, RRF_SUBKEY_WOW6464KEY, RegGetValueW};
use windows_sys::Win32::System::SystemInformation::{
    ComputerNamePhysicalDnsHostname, GetComputerNameExW, GetTickCount64, GlobalMemoryStatusEx, MEMORYSTATUSEX,
    OSVERSIONINFOW,
};
use windows_sys::Win32::System::Threading::{
    GetProcessHandleCount, GetSystemTimes, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_VM_READ,
};

use super::handles::{done, narrow, wide};
use super::process::{open, ticks, times};
use std::os::windows::io::AsRawHandle;

/// An identifier that this host keeps until Windows is reinstalled. Empty if there is none.
pub fn host_fingerprint(_: &std::path::Path) -> String {
    registry(r"SOFTWARE\Microsoft\Cryptography", "MachineGuid").unwrap_or_default()
}

/// The addresses of `localhost`, which Windows resolves by itself.
pub fn localhost() -> Vec<std::net::IpAddr> {
    vec![std::net::Ipv4Addr::LOCALHOST.into()]
}

/// A text from the machine's part of the registry, with its variables expanded.
pub(super) fn registry(key: &str, name: &str) -> Option<String> {
    let (key, name) = (wide(key), wide(name));
    let mut text = [0_u16; 256];
    let mut size = size_of_val(&text) as u32;
    let flags = RRF_RT_REG_SZ | RRF_SUBKEY_WOW6464KEY;
    // SAFETY: the texts end with NUL, and the size is that of the buffer.
    let code = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            name.as_ptr(),
            flags,
            null_mut(),
            text.as_mut_ptr().cast(),
            &mut size,
        )
    };
    (code == ERROR_SUCCESS).then(|| narrow(&text)).filter(|text| !text.is_empty())
}

/// The version of Windows: `10.0.20348`.
pub fn kernel_release() -> String {
    let mut info = OSVERSIONINFOW { dwOSVersionInfoSize: size_of::<OSVERSIONINFOW>() as u32, ..Default::default() };
    // SAFETY: the structure contains its size.
    // Other functions report an older version to programs without a manifest; this one does not.
    unsafe { RtlGetVersion(&mut info) };
    format!("{}.{}.{}", info.dwMajorVersion, info.dwMinorVersion, info.dwBuildNumber)
}

/// The names of the host and of its Windows: `Windows Server 2022 Datacenter (10.0.20348)`.
pub fn name_and_version() -> (String, String) {
    let mut name = [0_u16; 256];
    let mut length = name.len() as u32;
    // SAFETY: the length is that of the buffer.
    unsafe { GetComputerNameExW(ComputerNamePhysicalDnsHostname, name.as_mut_ptr(), &mut length) };
    let product = registry(r"SOFTWARE\Microsoft\Windows NT\CurrentVersion", "ProductName");
    (narrow(&name), format!("{} ({})", product.unwrap_or_else(|| "Windows".into()), kernel_release()))
}

/// Always none: Windows cannot say whether its clock is right without asking over the network.
pub fn right_time() -> Option<SystemTime> {
    None
}

/// The time of all processors: idle, in the kernel, in user mode.
pub fn cpu_times() -> Option<[Duration; 3]> {
    let [mut idle, mut kernel, mut user] = [FILETIME::default(); 3];
    // SAFETY: the pointers are to values that live until the call returns.
    done(unsafe { GetSystemTimes(&mut idle, &mut kernel, &mut user) }).ok()?;
    let [idle, kernel, user] = [idle, kernel, user].map(ticks);
    // Windows counts the idle time as time in the kernel.
    Some([idle, kernel.saturating_sub(idle), user].map(|ticks| Duration::from_nanos(ticks.saturating_mul(100))))
}

/// Physical memory and its available part, page files and their used part, in bytes.
pub fn memory() -> Option<[u64; 4]> {
    let mut status = MEMORYSTATUSEX { dwLength: size_of::<MEMORYSTATUSEX>() as u32, ..Default::default() };
    // SAFETY: the structure contains its size.
    done(unsafe { GlobalMemoryStatusEx(&mut status) }).ok()?;
    let (swap, swapped) = page_files(&status).unwrap_or_default();
    Some([status.ullTotalPhys, status.ullAvailPhys, swap, swapped])
}

/// The memory that can be committed beyond physical memory, and its committed part: Windows counts commitments, not
/// bytes on disk.
fn page_files(status: &MEMORYSTATUSEX) -> Option<(u64, u64)> {
    let mut info = PERFORMANCE_INFORMATION { cb: size_of::<PERFORMANCE_INFORMATION>() as u32, ..Default::default() };
    // SAFETY: the structure contains its size.
    done(unsafe { GetPerformanceInfo(&mut info, info.cb) }).ok()?;
    let bytes = |pages: usize| (pages as u64).saturating_mul(info.PageSize as u64);
    let size = bytes(info.CommitLimit).saturating_sub(status.ullTotalPhys);
    Some((size, bytes(info.CommitTotal).saturating_sub(status.ullTotalPhys).min(size)))
}

/// The time since the host was started.
pub fn uptime() -> Duration {
    // SAFETY: no arguments.
    Duration::from_millis(unsafe { GetTickCount64() })
}

/// A volume of a fixed drive.
#[derive(Debug)]
pub struct Volume {
    /// The root, such as `C:\`.
    pub root: String,
    /// The file system, such as `NTFS`.
    pub kind: String,
    /// The size, in bytes.
    pub total: u64,
    /// The space that is free for the agent, and all free space, in bytes.
    pub free: [u64; 2],
    /// Whether nothing can be written to it.
    pub read_only: bool,
}

/// The volumes with a letter on fixed drives. Other drives are not read: a share may hang, and a floppy takes seconds.
pub fn volumes() -> Vec<Volume> {
    // Source: winbase.h and winnt.h.
    const DRIVE_FIXED: u32 = 3;
    const FILE_READ_ONLY_VOLUME: u32 = 0x0008_0000;
    // SAFETY: no arguments.
    let letters = unsafe { GetLogicalDrives() };
    let roots = (0..26).filter(|bit| letters & (1 << bit) != 0).map(|bit| format!(r"{}:\", char::from(b'A' + bit)));
    roots
        .filter_map(|root| {
            let path = wide(Path::new(&root));
            let (mut free, mut total, mut in_all, mut flags) = (0, 0, 0, 0);
            let mut kind = [0_u16; 64];
            // SAFETY: the path ends with NUL, the other pointers are to values that live until the calls return, or
            // null.
            unsafe {
                if GetDriveTypeW(path.as_ptr()) != DRIVE_FIXED {
                    return None;
                }
                done(GetDiskFreeSpaceExW(path.as_ptr(), &mut free, &mut total, &mut in_all)).ok()?;
                let (name, length) = (kind.as_mut_ptr(), kind.len() as u32);
                GetVolumeInformationW(path.as_ptr(), null_mut(), 0, null_mut(), null_mut(), &mut flags, name, length);
            }
            let read_only = flags & FILE_READ_ONLY_VOLUME != 0;
            Some(Volume { root, kind: narrow(&kind), total, free: [free, in_all], read_only })
        })
        .collect()
}

/// The traffic of an interface since its start: received first, transmitted second.
#[derive(Debug)]
pub struct Traffic {
    /// The alias, such as `Ethernet`.
    pub name: String,
    pub bytes: [u64; 2],
    pub packets: [u64; 2],
    /// Packets with errors.
    pub errors: [u64; 2],
    /// Packets without errors that were discarded.
    pub dropped: [u64; 2],
}

/// The interfaces to the outside of this host, each once: Windows also lists each filter above an interface.
pub fn interfaces() -> Vec<Traffic> {
    // Source: ipifcons.h.
    const LOOPBACK: u32 = 24;
    const TUNNEL: u32 = 131;
    // `FilterInterface` in `InterfaceAndOperStatusFlags`.
    const FILTER: u8 = 1 << 1;
    let mut table: *mut MIB_IF_TABLE2 = null_mut();
    // SAFETY: the table has as many rows as it says, and is freed after all of them are read.
    unsafe {
        if GetIfTable2(&mut table) != ERROR_SUCCESS {
            return Vec::new();
        }
        let rows = std::slice::from_raw_parts((*table).Table.as_ptr(), (*table).NumEntries as usize);
        let real = rows.iter().filter(|row| {
            row.Type != LOOPBACK && row.Type != TUNNEL && row.InterfaceAndOperStatusFlags._bitfield & FILTER == 0
        });
        let traffic = real.map(|row| Traffic {
            name: narrow(&row.Alias),
            bytes: [row.InOctets, row.OutOctets],
            packets: [row.InUcastPkts + row.InNUcastPkts, row.OutUcastPkts + row.OutNUcastPkts],
            errors: [row.InErrors, row.OutErrors],
            dropped: [row.InDiscards, row.OutDiscards],
        });
        let traffic = traffic.collect();
        FreeMibTable(table.cast());
        traffic
    }
}

/// The resources that a process uses.
#[derive(Debug)]
pub struct Usage {
    pub start: SystemTime,
    /// Time in user mode, and in the kernel.
    pub cpu: [Duration; 2],
    /// Its working set, in bytes.
    pub resident: u64,
    /// The private memory that it has committed, in bytes.
    pub committed: u64,
    pub handles: Option<u64>,
}

/// Measures a process.
///
/// # Errors
///
/// If there is no such process, or the agent may not read it.
pub fn usage(pid: u32) -> io::Result<Usage> {
    // From 1601 to 1970, in units of 100 ns.
    const TO_1970: u64 = 116_444_736_000_000_000;
    let process = open(pid, PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_VM_READ)?;
    let [start, kernel, user] = times(&process).ok_or_else(io::Error::last_os_error)?;
    let mut memory = PROCESS_MEMORY_COUNTERS_EX::default();
    let mut handles = 0;
    let size = size_of_val(&memory) as u32;
    // SAFETY: the handle is open, and the size is that of the structure: the function accepts this longer form too.
    let counted = unsafe {
        done(GetProcessMemoryInfo(process.as_raw_handle(), (&raw mut memory).cast(), size))?;
        GetProcessHandleCount(process.as_raw_handle(), &mut handles) != 0
    };
    let span = |ticks: u64| Duration::from_nanos(ticks.saturating_mul(100));
    Ok(Usage {
        start: SystemTime::UNIX_EPOCH + span(start.saturating_sub(TO_1970)),
        cpu: [span(user), span(kernel)],
        resident: memory.WorkingSetSize as u64,
        committed: memory.PrivateUsage as u64,
        handles: counted.then_some(handles.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_and_this_process_are_measured() {
        assert!(
            !host_fingerprint("/".as_ref()).is_empty() && kernel_release().starts_with(|c: char| c.is_ascii_digit())
        );
        let [total, available, swap, swapped] = memory().unwrap();
        assert!(available < total && swapped <= swap, "{available} of {total}, {swapped} of {swap}");
        let [idle, kernel, user] = cpu_times().unwrap();
        assert!(idle + kernel + user > Duration::ZERO);
        assert!(volumes().iter().any(|volume| volume.root == r"C:\" && volume.free[0] <= volume.total));
        let own = usage(std::process::id()).unwrap();
        assert!(own.resident > 0 && own.start <= SystemTime::now(), "{own:?}");
        assert!(!name_and_version().0.is_empty());
    }
}
