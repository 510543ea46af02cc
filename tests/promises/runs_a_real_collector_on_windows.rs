//! A real Collector on Windows, named by `OTELET_COLLECTOR`: its memory budget, its job, and the components that it
//! has.

use super::host::{environment, gone};
use super::runs_a_real_collector::Setup;
use super::system;

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn its_memory_budget_reaches_it_and_it_ends_with_an_agent_that_is_killed() {
    let setup = Setup::new();
    setup.host.set("collector.memory_limit", "400MiB");
    let good = setup.config("memory: {}, cpu: {}, filesystem: {}");
    let mut agent = setup.running(&good);

    let pid = agent.applied(&good).collector.pid.unwrap();

    assert!(environment(pid).contains(&format!("GOMEMLIMIT={}", 400 * 1024 * 1024 / 10 * 9)));
    let [ours, theirs] = [agent.pid(), pid].map(system::peak_memory);
    println!("memory under wine: the agent {ours} KiB, its collector {theirs} KiB: their largest working sets");
    agent.kill();
    gone(pid);
}

#[test]
#[ignore = "needs a real Collector: cargo xtask check --real"]
fn additions_that_this_collector_lacks_are_left_out_of_the_built_in_config() {
    let setup = Setup::new();
    setup.host.set("log_level", "debug");
    let agent = setup.running(&setup.config("memory: {}"));

    let line = agent.logs("beside the built-in config more.yaml is ");

    match line.split_once(" is left out: ") {
        Some((_, words)) => {
            assert!(words.contains("windowseventlog") || words.contains("windowsperfcounters"), "{words}");
            println!(
                "not validated here: windowseventlog and windowsperfcounters of targets/windows/more.yaml: {words}"
            );
        }
        None => assert!(line.ends_with(" is valid"), "{line}"),
    }
}
