//! The memory and processor time of a process, from Linux's counters in /proc (proc(5)). Elsewhere everything is unknown.

use std::fs;

/// The cost of a process at one moment; what cannot be read is left out.
#[derive(Debug, Default)]
pub struct Cost {
    /// Resident memory in bytes: `VmRSS`.
    pub resident: Option<u64>,
    /// Memory that is its own and written to, in bytes: `Private_Dirty` of smaps_rollup.
    pub private_dirty: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<u64>,
    /// Times that one of its living threads has gone to sleep by itself.
    pub sleeps: Option<u64>,
}

/// Reads what process `pid` costs.
pub fn cost(pid: u64) -> Cost {
    let status = read(pid, "status");
    let rollup = read(pid, "smaps_rollup");
    let kib = |text: &Option<String>, key| number(text.as_deref()?, key).map(|n| n * 1024);
    Cost {
        resident: kib(&status, "VmRSS:"),
        private_dirty: kib(&rollup, "Private_Dirty:"),
        threads: number(status.as_deref().unwrap_or(""), "Threads:"),
        descriptors: entries(pid, "fd").map(|names| names.len() as u64),
        sleeps: entries(pid, "task").map(|threads| {
            let each = threads.iter().filter_map(|thread| {
                let status = read(pid, &format!("task/{thread}/status"))?;
                number(&status, "voluntary_ctxt_switches:")
            });
            each.sum()
        }),
    }
}

/// Whether there is such a process; unknown without /proc.
pub fn exists(pid: u64) -> Option<bool> {
    fs::metadata("/proc/self").ok()?;
    // A process that has ended and was not waited for still has an entry, but no memory.
    let status = read(pid, "status").unwrap_or_default();
    Some(number(&status, "VmRSS:").is_some())
}

fn read(pid: u64, name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/{name}")).ok()
}

fn entries(pid: u64, name: &str) -> Option<Vec<String>> {
    let entries = fs::read_dir(format!("/proc/{pid}/{name}")).ok()?;
    Some(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

/// The number after `key`, which stands at the start of a line.
fn number(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_the_whole_key() {
        let text = "nonvoluntary_ctxt_switches:\t9\nvoluntary_ctxt_switches:\t150\nVmRSS:\t    2048 kB\n";
        assert_eq!(number(text, "voluntary_ctxt_switches:"), Some(150));
        assert_eq!(number(text, "VmRSS:"), Some(2048));
        assert_eq!(number(text, "Threads:"), None);
    }
}
