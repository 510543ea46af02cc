//! The rule for hosts with many interfaces or file systems: those of containers and virtual machines are left out there.
//!
//! They come and go by the hundred, and each has series of its own. Interfaces, file systems and disks of the host
//! itself are measured first.

use crate::observe::host::reading::LeftOut;

/// Above this number, interfaces and file systems of containers and virtual machines are left out.
const MANY: usize = 128;

/// The most interfaces and file systems that are measured, whoever uses them.
const MOST: usize = 1024;

/// The beginnings of the names that container engines, network plug-ins and hypervisors give to interfaces: Docker,
/// Podman and flannel (veth, br-), Calico, Cilium and LXC (lxc), the plug-ins of AWS, Azure and Google (eni, azv, gke),
/// libvirt (vnet), QEMU (tap), Xen (vif), Proxmox (fw).
const GUEST_INTERFACES: &[&str] =
    &["veth", "br-", "cali", "lxc", "eni", "azv", "gke", "vnet", "tap", "vif", "fwbr", "fwln", "fwpr"];

/// The beginnings of the names of devices that are files or memory: a snap or an image that was mounted leaves one behind.
const IMAGE_DISKS: &[&str] = &["loop", "ram"];

/// The directories in which container engines, the kubelet and snapd mount.
const GUEST_MOUNTS: &[&str] = &[
    "/var/lib/docker/",
    "/var/lib/containers/",
    "/var/lib/containerd/",
    "/var/lib/kubelet/",
    "/var/lib/rancher/",
    "/var/lib/lxc/",
    "/var/lib/lxd/",
    "/var/snap/",
    "/run/containerd/",
    "/run/docker/",
    "/run/k3s/",
    "/snap/",
];

/// Parts of a path below a directory of an engine that was moved elsewhere.
const GUEST_PARTS: &[&str] = &["/overlay2/", "/containers/storage/", "/io.containerd."];

/// Removes interfaces by the rule. Returns the number of those that were removed.
pub(super) fn limit_interfaces<T>(interfaces: &mut Vec<T>, name: impl Fn(&T) -> &str) -> usize {
    limit(interfaces, |interface| GUEST_INTERFACES.iter().any(|start| name(interface).starts_with(start)))
}

/// The same for disks; all that are real ones stay.
pub(super) fn limit_disks<T>(disks: &mut Vec<T>, name: impl Fn(&T) -> &str) -> usize {
    let all = disks.len();
    if all > MANY {
        disks.retain(|disk| !IMAGE_DISKS.iter().any(|start| name(disk).starts_with(start)));
    }
    all - disks.len()
}

/// The same for file systems, by the path of their mount point.
pub(super) fn limit_file_systems<T>(file_systems: &mut Vec<T>, path: impl Fn(&T) -> &[u8]) -> usize {
    limit(file_systems, |file_system| {
        let path = String::from_utf8_lossy(path(file_system));
        GUEST_MOUNTS.iter().any(|start| path.starts_with(start)) || GUEST_PARTS.iter().any(|part| path.contains(part))
    })
}

fn limit<T>(items: &mut Vec<T>, is_guests: impl Fn(&T) -> bool) -> usize {
    let all = items.len();
    if all > MANY {
        items.retain(|item| !is_guests(item));
        items.truncate(MOST);
    }
    all - items.len()
}

/// A line for the log; none if everything is measured.
pub(super) fn describe(left_out: LeftOut) -> Option<String> {
    let LeftOut { interfaces, file_systems, disks } = left_out;
    let counts = [(interfaces, "network interfaces"), (file_systems, "file systems"), (disks, "disks")];
    let what = counts.iter().filter(|(count, _)| *count > 0).map(|(count, noun)| format!("{count} {noun}"));
    let what: Vec<String> = what.collect();
    (!what.is_empty()).then(|| {
        format!(
            "{} are not measured: on a host with more than {MANY} of a kind, those of containers, virtual machines and \
             images are left out, and what is beyond {MOST}",
            what.join(" and ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(parts: &[(&str, usize)]) -> Vec<String> {
        parts.iter().flat_map(|(name, count)| (0..*count).map(move |number| format!("{name}{number}"))).collect()
    }

    #[test]
    fn a_host_with_few_interfaces_keeps_all() {
        let mut few = names(&[("eth", 2), ("veth", 126)]);
        assert_eq!(limit_interfaces(&mut few, |name| name), 0);
        assert_eq!(few.len(), 128);
    }

    #[test]
    fn on_a_host_with_many_the_guests_are_left_out() {
        let guests = ["veth", "cali", "lxc", "vnet", "tap", "br-", "fwbr"].map(|name| (name, 300));
        let own = [("eth", 2), ("wlan", 1), ("bond", 1), ("docker", 1), ("enp0s", 3), ("br", 1), ("eth0.", 200)];
        let mut many = names(&[&guests[..], &own[..]].concat());
        assert_eq!(limit_interfaces(&mut many, |name| name), 2_100);
        assert_eq!(many, names(&own));
    }

    #[test]
    fn there_is_a_most_for_what_is_not_of_guests() {
        let mut many = names(&[("eth0.", 5_000)]);
        assert_eq!(limit_interfaces(&mut many, |name| name), 3_976);
        assert_eq!((many.len(), many[0].as_str()), (1024, "eth0.0"), "the first ones");
    }

    #[test]
    fn mounts_of_containers_are_left_out_where_there_are_many() {
        let own = ["/", "/boot", "/home", "/srv/data", "/var/lib/mysql", "/var/lib/dockerish"];
        let guests = [
            "/var/lib/docker/overlay2/X/merged",
            "/var/lib/kubelet/pods/X/volumes/kubernetes.io~csi/pvc/mount",
            "/snap/core/X",
            "/srv/docker/overlay2/X/merged",
            "/home/me/.local/share/containers/storage/overlay/X/merged",
        ];
        let guests = guests.iter().flat_map(|path| (0..60).map(|number| path.replace('X', &number.to_string())));
        let mut many: Vec<String> = guests.chain(own.map(str::to_owned)).collect();
        assert_eq!(limit_file_systems(&mut many, |path| path.as_bytes()), 300);
        assert_eq!(many, own);
    }

    #[test]
    fn devices_of_images_are_left_out_where_there_are_many_disks() {
        let own = [("sd", 200), ("nvme0n", 2), ("dm-", 9)];
        let mut many = names(&[&[("loop", 300), ("ram", 16)], &own[..]].concat());
        assert_eq!(limit_disks(&mut many, |name| name), 316);
        assert_eq!(many, names(&own), "a disk of the host stays, however many there are");
        let mut few = names(&[("loop", 100), ("sda", 2)]);
        assert_eq!(limit_disks(&mut few, |name| name), 0);
    }

    #[test]
    fn the_line_says_how_many() {
        assert_eq!(describe(LeftOut::default()), None);
        let line = describe(LeftOut { interfaces: 400, file_systems: 172, disks: 0 }).unwrap();
        assert!(line.starts_with("400 network interfaces and 172 file systems are not measured: on a host with more"));
    }
}
