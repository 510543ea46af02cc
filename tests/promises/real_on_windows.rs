//! What is Windows' own about a real Collector, named by `OTELET_COLLECTOR`: its budget, its job, what it takes.

use super::host::{environment, gone};
use super::real::Plant;
use super::system;

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn its_memory_budget_reaches_it_and_it_ends_with_an_agent_that_is_killed() {
    let plant = Plant::new();
    plant.host.set("collector.memory_limit", "400MiB");
    let good = plant.config("memory: {}, cpu: {}, filesystem: {}");
    let mut agent = plant.running(&good);

    let pid = agent.applied(&good).collector.pid.unwrap();

    assert!(environment(pid).contains(&format!("GOMEMLIMIT={}", 400 * 1024 * 1024 / 10 * 9)));
    let [ours, theirs] = [agent.pid(), pid].map(system::peak_memory);
    println!("memory under wine: the agent {ours} KiB, its collector {theirs} KiB: their largest working sets");
    agent.kill();
    gone(pid);
}
