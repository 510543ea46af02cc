//! The metrics of the host. Names, units and attributes are those of the Collector's `hostmetrics` receiver (v0.149),
//! so that dashboards and alerts written for it work. Metrics that this receiver lacks are called `otelet.*`.

table! {
    Host:
    CPU_TIME = "system.cpu.time", "s", Counter,
        "Time that each CPU spent in each state. `cpu`: cpu0, cpu1, …; absent where there are more than 32, and the sum is told. `state`: user, system, idle, interrupt, nice, softirq, steal, wait.";
    CPU_UTILIZATION = "system.cpu.utilization", "1", Gauge,
        "Share of the time since the sample before that each CPU spent in each state. `cpu`, `state` as above.";
    CPU_BUSY = "otelet.host.cpu.utilization", "1", Gauge,
        "Share of the time of all CPUs since the sample before that was neither idle nor waiting for a disk. No attributes.";
    LOAD_1M = "system.cpu.load_average.1m", "{thread}", Gauge,
        "Threads that run or want to, on average over one minute. No attributes.";
    LOAD_5M = "system.cpu.load_average.5m", "{thread}", Gauge,
        "The same over five minutes. No attributes.";
    LOAD_15M = "system.cpu.load_average.15m", "{thread}", Gauge,
        "The same over fifteen minutes. No attributes.";
    MEMORY_USAGE = "system.memory.usage", "By", UpDownCounter,
        "Memory by `state`: used (total less what the kernel calls available), free, buffered, cached (with slab_reclaimable), slab_reclaimable, slab_unreclaimable. They overlap.";
    MEMORY_UTILIZATION = "system.memory.utilization", "1", Gauge,
        "The same as a share of all memory. `state` as above.";
    PAGING_USAGE = "system.paging.usage", "By", UpDownCounter,
        "Swap by `device` and `state`: used, free.";
    PAGING_UTILIZATION = "system.paging.utilization", "1", Gauge,
        "The same as a share of the device. `device`, `state` as above.";
    DISK_IO = "system.disk.io", "By", Counter,
        "Bytes by `device` and `direction`: read, write. A device that was never used is left out.";
    DISK_OPERATIONS = "system.disk.operations", "{operations}", Counter,
        "Reads and writes that were done. `device`, `direction` as above.";
    DISK_IO_TIME = "system.disk.io_time", "s", Counter,
        "Time that the `device` had something to do.";
    FILESYSTEM_USAGE = "system.filesystem.usage", "By", UpDownCounter,
        "Space by `state`: used, free, reserved (for root). `device`, `mode` (rw, ro), `mountpoint`, `type`.";
    FILESYSTEM_UTILIZATION = "system.filesystem.utilization", "1", Gauge,
        "Used space as a share of used and free space: 1 when nobody but root can write. `device`, `mode`, `mountpoint`, `type`.";
    FILESYSTEM_INODES = "system.filesystem.inodes.usage", "{inodes}", UpDownCounter,
        "Inodes by `state`: used, free. `device`, `mode`, `mountpoint`, `type`.";
    FILESYSTEM_HANGING = "otelet.host.filesystem.hanging", "{filesystem}", UpDownCounter,
        "File systems that do not answer when asked for their space. No attributes.";
    NETWORK_IO = "system.network.io", "By", Counter,
        "Bytes by `device` and `direction`: transmit, receive.";
    NETWORK_PACKETS = "system.network.packets", "{packets}", Counter,
        "Packets. `device`, `direction` as above.";
    NETWORK_ERRORS = "system.network.errors", "{errors}", Counter,
        "Errors. `device`, `direction` as above.";
    NETWORK_DROPPED = "system.network.dropped", "{packets}", Counter,
        "Packets that were dropped. `device`, `direction` as above.";
    LEFT_OUT = "otelet.host.left_out", "{item}", UpDownCounter,
        "Interfaces, file systems and disks that are not measured since the host has too many, see below; absent where there are none. `otelet.left_out`: interfaces, file_systems, disks.";
    UPTIME = "system.uptime", "s", Gauge,
        "Time since the host was started. No attributes.";
    PROCESS_CPU_TIME = "process.cpu.time", "s", Counter, Agent,
        "CPU time of agent and collector by `state`: user, system. `otelet.process`: agent, collector.";
    PROCESS_MEMORY = "process.memory.usage", "By", UpDownCounter, Agent,
        "Their resident memory. `otelet.process`.";
    PROCESS_VIRTUAL = "process.memory.virtual", "By", UpDownCounter, Agent,
        "Their address space. `otelet.process`.";
    PROCESS_DESCRIPTORS = "process.open_file_descriptors", "{count}", UpDownCounter, Agent,
        "What they have open; not told where the agent may not look. `otelet.process`.";
    PROCESS_THREADS = "process.threads", "{threads}", UpDownCounter, Agent,
        "Their threads. `otelet.process`.";
    PROCESS_UPTIME = "process.uptime", "s", Gauge, Agent,
        "Time since they were started. `otelet.process`.";
    CGROUP_MEMORY_LIMIT = "otelet.cgroup.memory.limit", "By", UpDownCounter, Agent,
        "The lowest memory limit of the agent's own cgroup and those above it, where it is lower than the memory of the host: of a container, a pod, a service. No attributes.";
    CGROUP_MEMORY_USAGE = "otelet.cgroup.memory.usage", "By", UpDownCounter, Agent,
        "What counts against that limit and the kernel would not give back first: without the file cache that was not used lately. No attributes.";
    CGROUP_MEMORY_UTILIZATION = "otelet.cgroup.memory.utilization", "1", Gauge, Agent,
        "That usage as a share of that limit. No attributes.";
    CGROUP_CPU_LIMIT = "otelet.cgroup.cpu.limit", "{cpu}", UpDownCounter, Agent,
        "The lowest CPU quota of the agent's own cgroup and those above it, where it is lower than the CPUs of the host. No attributes.";
}
