//! Which file uses which, by the paths in the source: no circle of files larger than a pair, few arrows upwards between
//! rooms, and nothing but thiserror under the core.
//!
//! A room is a folder of `src/` (or a file there), or a crate below `crates/`. An arrow runs from a file to the file that
//! *defines* a name used in it: re-exports and globs are followed to the definition. Neither `mod` nor a `pub use` of an item
//! that a child module defines is an arrow. Code for tests (`#[cfg(test)]`) is left out.
//!
//! A child that uses an item of a module above it in its room (`use super::Client`) has an arrow like any other, but circles are
//! counted without these: the file that declares a folder holds the words that its children share. The figures name the
//! largest circle with them as well.
//!
//! Methods are not seen: a value of a type that is never named makes no arrow.

mod graph;
mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use crate::check::Outcome;
use crate::{Failure, Flags, places};

use graph::Graph;
use modules::{Arrow, Import, Modules};

/// The floors, from the bottom. A room may use rooms below it, and those of its floor that do not use it.
const FLOORS: [&[&str]; 12] = [
    &["os"],
    &["core", "exit"],
    &["wire", "config"],
    &["log"],
    &["store", "http"],
    &["settings"],
    &["source", "collector", "observe"],
    &["tell"],
    &["status"],
    &["run"],
    &["cli", "commands"],
    &["main", "lib"],
];

/// The arrows upwards that stay: from, to, and the reason.
const UPWARDS: [(&str, &str, &str); 0] = [];

/// The most arrows upwards that may be excused.
const MOST_UPWARDS: usize = 2;
/// The most files in a circle.
const MOST_IN_CIRCLE: usize = 2;
/// The crates that the core may use.
const UNDER_THE_CORE: [&str; 1] = ["thiserror"];

/// The rows of a list in the report.
const MOST_ROWS: usize = 12;

/// Runs the step.
pub fn step() -> Outcome {
    match House::read(&places::root()) {
        Ok(house) if house.breaches().is_empty() => Outcome::Passed(house.figures()),
        Ok(house) => Outcome::Failed(house.report()),
        Err(reason) => Outcome::Failed(reason),
    }
}

/// Runs the verb `rooms`: the report, whether or not there is a breach.
pub fn verb(args: &[String]) -> Result<(), Failure> {
    let mut root = places::root();
    let mut flags = Flags::new("rooms", args);
    while let Some(name) = flags.next_name() {
        match name {
            "--dir" => root = flags.value(name)?.into(),
            _ => return Err(flags.unknown(name)),
        }
    }
    let house = House::read(&root)?;
    print!("{}", house.report());
    let count = house.breaches().len();
    if count == 0 { Ok(()) } else { Err(Failure::Failed(format!("{count} breaches, listed first"))) }
}

/// A tree of source, and what its paths say.
struct House {
    files: Vec<String>,
    rooms: BTreeSet<String>,
    arrows: BTreeMap<(usize, usize), Vec<Arrow>>,
    graph: Graph,
    circles: Vec<Vec<usize>>,
    /// The size of the largest circle if children that use the modules above them are counted.
    strict: usize,
    upwards: Vec<Upward>,
    /// Names from outside std that the core imports; none without a crate of that name.
    core: Option<Vec<Import>>,
}

/// The arrows from one room to one that is not below it.
struct Upward {
    from: String,
    to: String,
    arrows: Vec<Arrow>,
}

impl House {
    fn read(root: &Path) -> Result<House, String> {
        let modules = Modules::read(root)?;
        let (list, imports) = modules.arrows();
        let to_parent = |from: usize, to: usize| {
            room(&modules.files[from]) == room(&modules.files[to]) && modules.is_above(to, from)
        };
        let mut arrows: BTreeMap<(usize, usize), Vec<Arrow>> = BTreeMap::new();
        for arrow in list {
            arrows.entry((arrow.from, arrow.to)).or_default().push(arrow);
        }
        let strict = Graph::new(modules.files.len(), arrows.keys().copied()).largest();
        let counted = arrows.keys().copied().filter(|&(from, to)| !to_parent(from, to));
        let graph = Graph::new(modules.files.len(), counted);
        let circles = graph.circles();
        let files = modules.files;
        let has_core = files.iter().any(|file| room(file) == "core");
        let core = has_core.then(|| {
            let mut outside: Vec<Import> = imports
                .into_iter()
                .filter(|import| room(&files[import.file]) == "core")
                .filter(|import| !["std", "core", "alloc"].contains(&import.name.as_str()))
                .collect();
            // One place for each name is enough.
            outside.sort_by(|a, b| (&a.name, a.file, a.line).cmp(&(&b.name, b.file, b.line)));
            outside.dedup_by(|a, b| a.name == b.name);
            outside
        });
        let upwards = upwards(&files, &arrows);
        let rooms = files.iter().map(|file| room(file).to_owned()).collect();
        Ok(House { files, rooms, arrows, graph, circles, strict, upwards, core })
    }

    fn largest(&self) -> &[usize] {
        self.circles.first().map_or(&[], Vec::as_slice)
    }

    /// One line for the table.
    fn figures(&self) -> String {
        let core = match &self.core {
            None => "no crate otelet-core yet".to_owned(),
            Some(imports) if imports.is_empty() => "otelet-core imports std alone".to_owned(),
            Some(imports) => {
                let names: Vec<&str> = imports.iter().map(|import| import.name.as_str()).collect();
                format!("otelet-core imports {}", names.join(", "))
            }
        };
        format!(
            "{} files in {} rooms on {} floors, {} arrows; largest circle: {} ({} with children that use their parent); arrows upwards: {} of at most {MOST_UPWARDS}; {core}",
            self.files.len(),
            self.rooms.len(),
            FLOORS.iter().filter(|floor| floor.iter().any(|room| self.rooms.contains(*room))).count(),
            self.arrows.len(),
            match self.largest().len() {
                0 => "none".to_owned(),
                count =>
                    format!("{count} files in {}", count_rooms(self.largest().iter().map(|&file| &self.files[file]))),
            },
            self.strict,
            self.upwards.len(),
        )
    }

    /// Each rule that the tree breaks, in a line.
    fn breaches(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        for room in self.rooms.iter().filter(|room| floor(room).is_none()) {
            breaches.push(format!("{room}: no floor has this room; add it to FLOORS in xtask/src/check/rooms.rs"));
        }
        let largest = self.largest().len();
        if largest > MOST_IN_CIRCLE {
            breaches.push(format!("a circle of {largest} files; the most is {MOST_IN_CIRCLE}"));
        }
        for upward in self.upwards.iter().filter(|upward| upward.reason().is_none()) {
            breaches.push(format!("{} uses {}, which is not below it", upward.from, upward.to));
        }
        if UPWARDS.len() > MOST_UPWARDS {
            breaches.push(format!("{} arrows upwards are excused; the most is {MOST_UPWARDS}", UPWARDS.len()));
        }
        for (from, to, _) in UPWARDS {
            // Without the room there is nothing to excuse yet.
            let there = self.rooms.contains(from) && self.rooms.contains(to);
            if there && !self.upwards.iter().any(|upward| upward.from == from && upward.to == to) {
                breaches.push(format!("{from} no longer uses {to}; remove the excuse from UPWARDS"));
            }
        }
        for import in self.core.iter().flatten() {
            if !UNDER_THE_CORE.contains(&import.name.as_str()) {
                breaches.push(format!("{}:{}: the core imports {}", self.files[import.file], import.line, import.name));
            }
        }
        breaches
    }

    /// Everything: breaches, the circle, ways to cut it, arrows upwards.
    fn report(&self) -> String {
        let mut text = String::new();
        let mut say = |line: &str| _ = writeln!(text, "{line}");
        for breach in self.breaches() {
            say(&format!("error: {breach}"));
        }
        say(&self.figures());

        let circle = self.largest();
        if circle.len() > MOST_IN_CIRCLE {
            say(&format!("\nthe largest circle, {} files:", circle.len()));
            for &file in circle {
                say(&format!("  {}", self.files[file]));
            }
            if let Some(cycle) = self.graph.shortest_cycle(circle) {
                say(&format!("\na shortest cycle in it, {} files:", cycle.len()));
                for (at, &from) in cycle.iter().enumerate() {
                    let to = cycle[(at + 1) % cycle.len()];
                    self.arrows[&(from, to)].iter().take(3).for_each(|arrow| say(&self.place(arrow)));
                }
            }
            say("\nsmallest circle left after one cut between rooms:");
            for (left, from, to, count) in self.cuts(circle, |file| room(&self.files[file])) {
                say(&format!("  {left:>3} files without {from} -> {to} ({count} arrows between files)"));
            }
            say("\nsmallest circle left after one cut between files:");
            for (left, from, to, _) in self.cuts(circle, |file| &self.files[file]) {
                say(&format!("  {left:>3} files without {from} -> {to}"));
            }
        }
        let others: Vec<&Vec<usize>> = self.circles.iter().skip(1).collect();
        if !others.is_empty() {
            say("\nother circles:");
            for circle in others {
                let names: Vec<&str> = circle.iter().map(|&file| self.files[file].as_str()).collect();
                say(&format!("  {} files: {}", names.len(), names.join(" ")));
            }
        }
        if !self.upwards.is_empty() {
            say("\narrows upwards:");
        }
        for upward in &self.upwards {
            let reason = upward.reason().map_or(String::new(), |reason| format!(" (excused: {reason})"));
            say(&format!("{} -> {}{reason}", upward.from, upward.to));
            upward.arrows.iter().for_each(|arrow| say(&self.place(arrow)));
        }
        text
    }

    fn place(&self, arrow: &Arrow) -> String {
        format!("  {}:{}: {} -> {}", self.files[arrow.from], arrow.line, arrow.path, self.files[arrow.to])
    }

    /// For each pair of groups in the circle: the largest circle without the arrows from one to the other.
    fn cuts<'a>(&'a self, circle: &[usize], group: impl Fn(usize) -> &'a str) -> Vec<(usize, &'a str, &'a str, usize)> {
        let inner: Vec<(usize, usize)> =
            self.graph.arrows().filter(|(from, to)| circle.contains(from) && circle.contains(to)).collect();
        let pairs: BTreeSet<(&str, &str)> =
            inner.iter().map(|&(from, to)| (group(from), group(to))).filter(|(from, to)| from != to).collect();
        let mut cuts: Vec<(usize, &str, &str, usize)> = pairs
            .into_iter()
            .map(|pair| {
                let kept = inner.iter().copied().filter(|&(from, to)| (group(from), group(to)) != pair);
                let kept: Vec<(usize, usize)> = kept.collect();
                (Graph::new(self.files.len(), kept.clone()).largest(), pair.0, pair.1, inner.len() - kept.len())
            })
            .filter(|cut| cut.0 < circle.len())
            .collect();
        cuts.sort_unstable();
        cuts.truncate(MOST_ROWS);
        cuts
    }
}

impl Upward {
    fn reason(&self) -> Option<&'static str> {
        UPWARDS.iter().find(|row| row.0 == self.from && row.1 == self.to).map(|row| row.2)
    }
}

/// The arrows between rooms that do not run downwards. Of two rooms on one floor that use each other, the one with
/// fewer arrows counts as running upwards.
fn upwards(files: &[String], arrows: &BTreeMap<(usize, usize), Vec<Arrow>>) -> Vec<Upward> {
    let mut between: BTreeMap<(&str, &str), Vec<Arrow>> = BTreeMap::new();
    for (&(from, to), list) in arrows {
        let pair = (room(&files[from]), room(&files[to]));
        if pair.0 != pair.1 {
            between.entry(pair).or_default().extend(list.iter().cloned());
        }
    }
    let runs_up = |from: &str, to: &str, list: &[Arrow]| match (floor(from), floor(to)) {
        (Some(low), Some(high)) if low == high => {
            between.get(&(to, from)).is_some_and(|back| (list.len(), from) < (back.len(), to))
        }
        (low, high) => low < high,
    };
    between
        .iter()
        .filter(|((from, to), list)| runs_up(from, to, list))
        .map(|((from, to), list)| Upward { from: (*from).to_owned(), to: (*to).to_owned(), arrows: list.clone() })
        .collect()
}

/// The room of a file: `src/http/url.rs` and `src/http.rs` are in `http`, `crates/core/src/units.rs` in `core`.
fn room(file: &str) -> &str {
    let mut parts = file.split('/');
    let name = match parts.next() {
        Some("crates") => parts.next(),
        _ => parts.next(),
    };
    name.map_or("", |name| name.trim_end_matches(".rs"))
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

fn count_rooms<'a>(files: impl Iterator<Item = &'a String>) -> String {
    match files.map(|file| room(file)).collect::<BTreeSet<_>>().len() {
        1 => "1 room".to_owned(),
        count => format!("{count} rooms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a tree of these files, and removes it.
    fn house(name: &str, files: &[(&str, &str)]) -> House {
        let root = std::env::temp_dir().join(format!("otelet-xtask-rooms-{name}-{}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let house = House::read(&root);
        std::fs::remove_dir_all(&root).unwrap();
        house.unwrap()
    }

    /// Each arrow as `from -> to`.
    fn arrows(house: &House) -> Vec<String> {
        let name = |file: &usize| house.files[*file].clone();
        let mut arrows: Vec<String> =
            house.arrows.keys().map(|(from, to)| format!("{} -> {}", name(from), name(to))).collect();
        arrows.sort();
        arrows
    }

    #[test]
    fn an_arrow_runs_to_the_file_that_defines_the_item() {
        let house = house(
            "defines",
            &[
                ("src/lib.rs", "mod http; mod run;"),
                ("src/http/mod.rs", "mod url; mod wire; pub use url::parse; pub use wire::*;"),
                ("src/http/url.rs", "pub fn parse() {}"),
                ("src/http/wire.rs", "pub struct Wire;"),
                (
                    "src/run.rs",
                    "use crate::http::{self, Wire}; fn go(wire: Wire) { http::parse(); /* crate::os::x() */ }",
                ),
            ],
        );
        assert_eq!(arrows(&house), ["src/run.rs -> src/http/url.rs", "src/run.rs -> src/http/wire.rs"]);
        assert_eq!(house.breaches(), Vec::<String>::new());
    }

    #[test]
    fn tests_and_comments_make_no_arrows() {
        let house = house(
            "tests",
            &[
                ("src/lib.rs", "mod os; mod log;"),
                (
                    "src/os.rs",
                    "// use crate::log::Log;\n#[cfg(test)] mod tests { use crate::log::Log; }\n#[test] fn t() { crate::log::f() }",
                ),
                ("src/log.rs", "pub struct Log; pub fn f() {}"),
            ],
        );
        assert_eq!(arrows(&house), Vec::<String>::new());
    }

    #[test]
    fn a_glob_of_the_parent_counts_for_the_names_that_are_used() {
        let house = house(
            "glob",
            &[
                ("src/lib.rs", "mod run; mod os;"),
                ("src/os.rs", "pub fn pid() {}"),
                ("src/run/mod.rs", "mod child; use crate::os; pub struct Runner;"),
                ("src/run/child.rs", "use super::*; impl Runner { fn f() { os::pid() } }"),
            ],
        );
        assert_eq!(arrows(&house), ["src/run/child.rs -> src/os.rs", "src/run/child.rs -> src/run/mod.rs"]);
    }

    #[test]
    fn a_circle_of_three_files_is_a_breach_and_a_pair_is_not() {
        let pair = [
            ("src/lib.rs", "mod http;"),
            ("src/http/mod.rs", "mod a; mod b; mod c; pub fn top() {}"),
            ("src/http/a.rs", "use super::{b::B, top}; pub struct A;"),
            ("src/http/b.rs", "use super::a::A; pub struct B;"),
            ("src/http/c.rs", "pub struct C;"),
        ];
        assert_eq!(house("pair", &pair).breaches(), Vec::<String>::new());

        let mut circle = pair;
        circle[3].1 = "use super::c::C; pub struct B;";
        circle[4].1 = "use super::a::A; pub struct C;";
        let house = house("circle", &circle);
        assert_eq!(house.breaches(), ["a circle of 3 files; the most is 2"]);
        let report = house.report();
        assert!(report.contains("src/http/b.rs:1: super::c::C -> src/http/c.rs"), "{report}");
        assert!(report.contains("2 files without") || report.contains("0 files without"), "{report}");
    }

    #[test]
    fn a_room_that_uses_one_above_it_is_a_breach() {
        let house = house(
            "up",
            &[
                ("src/lib.rs", "mod os; mod log; mod attic;"),
                ("src/os/mod.rs", "mod unix;"),
                ("src/os/unix.rs", "\nfn f() { crate::log::warn() }"),
                ("src/log.rs", "pub fn warn() {}"),
                ("src/attic.rs", ""),
            ],
        );
        assert_eq!(
            house.breaches(),
            [
                "attic: no floor has this room; add it to FLOORS in xtask/src/check/rooms.rs",
                "os uses log, which is not below it"
            ]
        );
        assert!(house.report().contains("src/os/unix.rs:2: crate::log::warn -> src/log.rs"), "{}", house.report());
    }

    #[test]
    fn of_two_rooms_on_a_floor_one_may_use_the_other() {
        let mut files = [
            ("src/lib.rs", "mod store; mod http;"),
            ("src/store.rs", "use crate::http::{A, B};"),
            ("src/http/mod.rs", "pub struct A; pub struct B; mod inner;"),
            ("src/http/inner.rs", ""),
        ];
        assert_eq!(house("aside", &files).breaches(), Vec::<String>::new());
        files[3].1 = "use crate::store::Store;";
        assert_eq!(house("aside", &files).breaches(), ["http uses store, which is not below it"]);
    }

    #[test]
    fn the_core_imports_std_and_thiserror() {
        let mut files = [
            ("src/lib.rs", "mod run;"),
            ("src/run.rs", "use otelet_core::decide::Agent; fn f() { otelet_core::units::bytes() }"),
            ("crates/core/src/lib.rs", "pub mod decide; pub mod units;"),
            (
                "crates/core/src/decide/mod.rs",
                "use std::fmt; #[derive(thiserror::Error)] pub struct Agent; use crate::units;",
            ),
            ("crates/core/src/units.rs", "pub fn bytes() { u64::from(1u8); }"),
        ];
        let good = house("core", &files);
        assert_eq!(good.breaches(), Vec::<String>::new());
        assert!(good.figures().ends_with("otelet-core imports thiserror"), "{}", good.figures());
        assert_eq!(
            arrows(&good),
            ["src/run.rs -> crates/core/src/decide/mod.rs", "src/run.rs -> crates/core/src/units.rs"]
        );

        files[4].1 = "\nuse serde::Serialize; pub fn bytes() {}";
        assert_eq!(house("core", &files).breaches(), ["crates/core/src/units.rs:2: the core imports serde"]);
        files[4].1 = "pub fn bytes() { otelet::os::pid() }";
        assert_eq!(house("core", &files).breaches(), ["core uses lib, which is not below it"]);
    }
}
