//! Random histories of a fleet, from a seed, and the invariants that hold after each step.
//!
//! 1. Of one config, at most one agent is on trial.
//! 2. A stopped config becomes desired on no agent.
//! 3. A config that an agent refused is not offered to it, until a person wants it.
//! 4. An agent has its target, or waits for its turn, or is on trial.
//! 5. Between two acts of persons, a config that no agent can run reaches one agent at most.
//! 6. What was kept suffices: a fleet put together from it is the fleet.
//! 7. When persons leave it alone and each config works, each agent runs its target in the end.
//!
//! `cargo test -p otelet-hub-decide`; `SEEDS=10000` for a long run, `SEED=7` for one.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use crate::agent::{Health, Labels, OfferState, Report};
use crate::fleet::{Action, Fleet, Happened, Member, Rule, Stop, Target, Turn};
use crate::ids::{Hash, Millis, Uid};

const AGENTS: u8 = 7;
const CONFIGS: u8 = 5;
const STEPS: usize = 300;

/// An agent of the simulated world, with what it does with configs.
#[derive(Default)]
struct Host {
    told: Option<(Hash, OfferState, String)>,
    running: Option<Hash>,
    asleep: bool,
}

/// The hub's memory on disk.
#[derive(Default)]
struct Kept {
    rules: Vec<Rule>,
    members: BTreeMap<Uid, Member>,
    stops: BTreeMap<Hash, Stop>,
    proven: BTreeSet<Hash>,
}

struct World {
    rng: Rng,
    now: Millis,
    fleet: Fleet,
    kept: Kept,
    hosts: BTreeMap<Uid, Host>,
    /// Configs that work nowhere, and those that work on hosts with an even number only.
    bad: BTreeSet<Hash>,
    picky: BTreeSet<Hash>,
    /// By config: the agents that were sent it since a person did something.
    reached: BTreeMap<Hash, BTreeSet<Uid>>,
}

fn uid(n: u8) -> Uid {
    Uid([n; 16])
}

fn hash(n: u8) -> Hash {
    Hash([n; 32])
}

impl World {
    fn new(seed: u64, all_good: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let (mut bad, mut picky) = (BTreeSet::new(), BTreeSet::new());
        for n in 0..CONFIGS {
            match rng.u8(..4) {
                _ if all_good => {}
                0 => _ = bad.insert(hash(n)),
                1 => _ = picky.insert(hash(n)),
                _ => {}
            }
        }
        Self {
            rng,
            now: 1_000_000,
            fleet: Fleet::default(),
            kept: Kept::default(),
            hosts: BTreeMap::new(),
            bad,
            picky,
            reached: BTreeMap::new(),
        }
    }

    fn works(&self, uid: Uid, hash: Hash) -> bool {
        !self.bad.contains(&hash) && (!self.picky.contains(&hash) || uid.0[0].is_multiple_of(2))
    }

    /// Tells the fleet, does to the disk what it says, and checks.
    fn tell(&mut self, happened: Happened) {
        if let Happened::Assigned { rules } = &happened {
            self.kept.rules.clone_from(rules);
        }
        let stopped_before = self.fleet.stops().clone();
        let members_before = self.fleet.members().clone();
        for action in self.fleet.on(happened.clone(), self.now) {
            match action {
                Action::Keep { uid } => {
                    if let Some(member) = self.fleet.member(uid) {
                        self.kept.members.insert(uid, member.clone());
                    }
                }
                Action::Remove { uid } => _ = self.kept.members.remove(&uid),
                Action::Stopped { hash, stop } => _ = self.kept.stops.insert(hash, stop),
                Action::Lifted { hash } => _ = self.kept.stops.remove(&hash),
                Action::Proven { hash } => _ = self.kept.proven.insert(hash),
                Action::Offer { .. } | Action::Event { .. } => {}
            }
        }
        for (uid, member) in self.fleet.members() {
            let hash = |target: &Option<Target>| target.as_ref().map(|target| target.hash);
            let (desired, before) = (hash(&member.desired), members_before.get(uid));
            // An agent whose trial ends without a verdict goes back to the config that it had.
            let had = |it: &Member| desired == hash(&it.desired) || desired == hash(&it.before);
            let newly = desired.filter(|_| !before.is_some_and(had));
            let stopped = newly.is_some_and(|hash| stopped_before.contains_key(&hash));
            let lifted = matches!(happened, Happened::Resumed { hash } if newly == Some(hash));
            assert!(!stopped || lifted, "2: {uid} {happened:?}");
        }
        self.check();
    }

    fn check(&self) {
        let mut on_trial = BTreeMap::<Hash, usize>::new();
        for (uid, member) in self.fleet.members() {
            if let Turn::Trial { .. } = member.turn {
                *on_trial.entry(member.desired.as_ref().expect("a trial is of a config").hash).or_default() += 1;
                assert_eq!(member.desired, member.target, "4: {uid} is on trial with its target");
            }
            if member.turn == Turn::Settled {
                assert_eq!(member.desired, member.target, "4: {uid} is settled");
            }
            if let Some(offer) = self.fleet.offer(*uid) {
                assert!(!member.agent.refused.contains_key(&offer.hash), "3: {uid}");
            }
        }
        assert!(on_trial.values().all(|number| *number == 1), "1: {on_trial:?}");

        let again = Fleet::new(
            self.kept.rules.clone(),
            self.kept.members.clone(),
            self.kept.stops.clone(),
            self.kept.proven.clone(),
            self.now,
        );
        for (uid, member) in self.fleet.members() {
            let mut kept = again.member(*uid).unwrap_or_else(|| panic!("6: {uid} was not kept")).clone();
            // When it was heard last is written now and then only.
            (kept.agent.heard, kept.agent.listening_since) = (member.agent.heard, member.agent.listening_since);
            assert_eq!(kept, *member, "6: {uid}");
        }
        assert_eq!(again.members().len(), self.fleet.members().len(), "6");
        assert_eq!(again.stops(), self.fleet.stops(), "6");
        for n in 0..CONFIGS {
            assert_eq!(again.progress(hash(n)), self.fleet.progress(hash(n)), "6");
            assert_eq!(again.is_proven(hash(n)), self.fleet.is_proven(hash(n)), "6");
        }
    }

    fn act(&mut self, happened: Happened) {
        self.reached.clear();
        self.tell(happened);
    }

    /// An agent polls: tells, and takes an offer.
    fn poll(&mut self, uid: Uid) {
        let host = self.hosts.entry(uid).or_default();
        let healthy = host.running.is_some();
        let report = Report {
            health: Some(Health { up: healthy, healthy, trouble: "idle".into() }),
            offer: host.told.clone(),
            running: host.running,
            ..Report::default()
        };
        self.tell(Happened::Heard { uid, report });
        let Some(offer) = self.fleet.offer(uid).map(|target| target.hash) else { return };
        self.tell(Happened::Offered { uid, hash: offer });
        let reached = self.reached.entry(offer).or_default();
        reached.insert(uid);
        if self.bad.contains(&offer) {
            assert!(reached.len() <= 1, "5: {offer} reached {reached:?}");
        }
        // The answer may be lost on its way.
        if self.rng.u8(..8) > 0 {
            self.hosts.get_mut(&uid).expect("it polls").told = Some((offer, OfferState::Applying, String::new()));
        }
    }

    /// The config that a host tries comes to an end.
    fn finish(&mut self, uid: Uid) {
        let Some((hash, OfferState::Applying, _)) = self.hosts.entry(uid).or_default().told else { return };
        let works = self.works(uid, hash);
        let host = self.hosts.get_mut(&uid).expect("it is there");
        if works {
            host.running = Some(hash);
            host.told = Some((hash, OfferState::Applied, String::new()));
        } else {
            host.told = Some((hash, OfferState::Failed, "unknown type".into()));
        }
    }

    fn rules(&mut self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = Vec::new();
        for selector in ["site=a", "site=b", ""] {
            if self.rng.u8(..3) > 0 {
                let config = self.rng.u8(..CONFIGS);
                let target = Target { config: "edge".into(), version: config.into(), hash: hash(config) };
                let target = (self.rng.u8(..6) > 0).then_some(target);
                rules.push(Rule { selector: selector.parse().unwrap(), target });
            }
        }
        rules
    }

    fn labels(&mut self) -> Labels {
        match self.rng.u8(..3) {
            0 => Labels::new(),
            n => Labels::from([("site".into(), if n == 1 { "a".into() } else { "b".into() })]),
        }
    }

    fn step(&mut self) {
        self.now += self.rng.i64(0..20_000);
        let one = uid(self.rng.u8(..AGENTS));
        let config = hash(self.rng.u8(..CONFIGS));
        match self.rng.u8(..40) {
            0 => {
                let rules = self.rules();
                self.act(Happened::Assigned { rules });
            }
            1 => {
                let set = self.labels();
                self.act(Happened::Labelled { uid: one, set, name: None });
            }
            2 => self.act(Happened::OfferAgain { uid: one, hash: config }),
            3 => self.act(Happened::Resumed { hash: config }),
            4 => {
                self.act(Happened::Forgotten { uid: one });
                self.hosts.remove(&one);
            }
            5..=7 => {
                let set = self.labels();
                self.act(Happened::Enrolled { uid: one, set });
            }
            8..=9 => {
                let host = self.hosts.entry(one).or_default();
                host.asleep = !host.asleep;
            }
            10 => self.now += 200_000,
            11..=12 => self.tell(Happened::Tick),
            13 => self.tell(Happened::Heard { uid: one, report: Report { goodbye: true, ..Report::default() } }),
            14..=20 => self.finish(one),
            _ => {
                if !self.hosts.entry(one).or_default().asleep && self.fleet.member(one).is_some() {
                    self.poll(one);
                }
            }
        }
    }
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse().ok());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(default),
    }
}

#[test]
fn the_invariants_hold_through_random_histories() {
    for seed in seeds(1000) {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed, false);
            (0..STEPS).for_each(|_| world.step());
        });
        assert!(run.is_ok(), "replay it by SEED={seed}");
    }
}

#[test]
fn each_agent_runs_its_target_in_the_end() {
    for seed in seeds(200) {
        let mut world = World::new(seed, true);
        (0..STEPS).for_each(|_| world.step());
        for n in 0..CONFIGS {
            world.act(Happened::Resumed { hash: hash(n) });
        }
        let members: Vec<Uid> = world.fleet.members().keys().copied().collect();
        for _ in 0..60 {
            for uid in &members {
                world.hosts.entry(*uid).or_default().asleep = false;
                world.now += 5_000;
                // Stops come from silences that the history left behind.
                let stops: Vec<Hash> = world.fleet.stops().keys().copied().collect();
                stops.into_iter().for_each(|hash| world.act(Happened::Resumed { hash }));
                world.poll(*uid);
                world.finish(*uid);
                world.tell(Happened::Tick);
            }
        }
        for (uid, member) in world.fleet.members() {
            if let Some(target) = &member.target {
                assert_eq!(world.hosts[uid].running, Some(target.hash), "7: SEED={seed}, {uid}: {member:#?}");
                assert_eq!(member.turn, Turn::Settled, "7: SEED={seed}, {uid}");
            }
        }
    }
}

/// A bad config on a fleet of forty is tried once.
#[test]
fn a_bad_config_stops_at_the_first_agent() {
    let mut world = World::new(1, false);
    (world.bad, world.picky) = (BTreeSet::from([hash(1)]), BTreeSet::new());
    let rules = |n: u8| {
        let target = Some(Target { config: "edge".into(), version: n.into(), hash: hash(n) });
        Happened::Assigned { rules: vec![Rule { selector: "".parse().unwrap(), target }] }
    };
    world.act(rules(0));
    let all: Vec<Uid> = (0..40).map(uid).collect();
    for uid in &all {
        world.act(Happened::Enrolled { uid: *uid, set: Labels::new() });
    }
    let round = |world: &mut World| {
        for uid in &all {
            world.poll(*uid);
            world.finish(*uid);
        }
        world.now += 16_000;
    };
    (0..6).for_each(|_| round(&mut world));
    assert!(
        world.hosts.values().all(|host| host.running == Some(hash(0))),
        "who comes new need not wait for each other"
    );

    world.act(rules(1));
    (0..6).for_each(|_| round(&mut world));

    let desired: Vec<_> =
        world.fleet.members().values().filter(|it| it.desired.as_ref().unwrap().version == 1).collect();
    assert_eq!(desired.len(), 1);
    assert!(world.hosts.values().all(|host| host.running == Some(hash(0))));
    assert_eq!(world.fleet.stops()[&hash(1)].why, "unknown type");
    assert_eq!(world.fleet.progress(hash(1)), (39, None));

    world.act(rules(0));
    let settled = world.fleet.members().values().filter(|it| it.turn == Turn::Settled).count();
    assert_eq!(settled, 39, "those that did not get the bad one have nothing to do");
    (0..6).for_each(|_| round(&mut world));
    assert!(world.fleet.members().values().all(|it| it.turn == Turn::Settled), "going back reaches each agent");
}
