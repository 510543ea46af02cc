//! Takes samples of the host.

use super::*;

impl Runner {
    pub(super) fn take_sample(&mut self) {
        let pid = self.collector.as_ref().map(|(pid, _, _)| *pid);
        // Points are made only for somebody.
        let told = self.told_of_points();
        self.host.set_root(&self.settings.host.root);
        let host::SampleResult { sample, snapshots, job } =
            self.host.sample(pid, Instant::now(), SystemTime::now(), told);
        self.sample = sample;
        if let Some(job) = job
            && let Err(why) = work("mounts", job)
        {
            log::warn!("network file systems are not sampled: {why}");
        }
        for snapshot in snapshots {
            self.observed(snapshot);
        }
        self.sample_checks();
        if let Some((_, _, relay)) = &self.collector {
            let dropped = relay.borrow_mut().newly_dropped();
            if dropped > 0 {
                log::warn!("{dropped} log lines of the collector were dropped: more than collector.log_rate allows");
            }
        }
    }
}
