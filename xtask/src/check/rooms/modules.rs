//! The modules of the workspace as its source declares them, and the file in which a path leads to an item.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::rust::{self, Kind, Word};

/// Re-exports followed for one path; a chain longer than that is a circle of re-exports.
const MOST_STEPS: usize = 32;

/// The leading names that are types of the language and no modules.
const PRIMITIVES: [&str; 17] = [
    "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str", "u8", "u16", "u32", "u64", "u128",
    "usize",
];

/// Attributes whose words are no paths into code.
const LINTS: [&str; 7] = ["allow", "cfg", "cfg_attr", "deny", "expect", "forbid", "warn"];

/// The modules of all crates.
#[derive(Default)]
pub struct Modules {
    /// Paths below the root of the tree, with `/` between folders.
    pub files: Vec<String>,
    modules: Vec<Module>,
    /// The name that other crates import, and the root module.
    crates: BTreeMap<String, usize>,
}

struct Module {
    file: usize,
    krate: usize,
    parent: Option<usize>,
    children: Vec<(String, usize)>,
    items: BTreeSet<String>,
    uses: Vec<Use>,
    /// All that is neither a `use` nor a module.
    body: Vec<Word>,
}

#[derive(Debug)]
struct Use {
    path: Vec<String>,
    /// The name in this module: `*` for a glob, `_` for a trait without a name.
    name: String,
    public: bool,
    line: usize,
}

/// The end of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Module(usize),
    /// An item, and so the file that defines it.
    Item(usize),
    /// A name that is not of the workspace.
    Outside(String),
}

impl Target {
    fn is_module(&self) -> bool {
        matches!(self, Target::Module(_))
    }
}

/// A name of one file that is used in another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    pub from: usize,
    pub to: usize,
    pub line: usize,
    pub path: String,
}

/// A name from outside the workspace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub file: usize,
    pub line: usize,
    pub name: String,
}

impl Modules {
    /// Reads `src/` and `crates/*/src` below `root`.
    ///
    /// # Errors
    ///
    /// The file that cannot be read, or the module whose file is missing.
    pub fn read(root: &Path) -> Result<Modules, String> {
        let mut all = Modules::default();
        let mut packages = vec![(String::from("otelet"), root.join("src"))];
        let mut crates: Vec<PathBuf> =
            fs::read_dir(root.join("crates")).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        crates.sort();
        for folder in crates {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().replace('-', "_");
            packages.push((format!("otelet_{name}"), folder.join("src")));
        }
        for (name, src) in packages {
            // The program is a crate of its own that imports the library by name.
            for (file, name) in [("lib.rs", name.clone()), ("main.rs", format!("{name}'s main"))] {
                let path = src.join(file);
                if path.is_file() {
                    let module = all.module_in(root, &path, &src, None)?;
                    if let Some(module) = module {
                        all.crates.insert(name, module);
                    }
                }
            }
        }
        if all.files.is_empty() {
            return Err(format!("{}: no src/lib.rs below it", root.display()));
        }
        Ok(all)
    }

    /// Reads a module's file and those below it; nothing if all of it is for tests.
    fn module_in(
        &mut self,
        root: &Path,
        path: &Path,
        children: &Path,
        parent: Option<usize>,
    ) -> Result<Option<usize>, String> {
        let source = fs::read_to_string(path).map_err(|cause| format!("{}: cannot read: {cause}", path.display()))?;
        let words = rust::split(&source).0;
        let head: Vec<&str> = words.iter().take(7).map(|word| word.text.as_str()).collect();
        if head == ["#", "!", "[", "cfg", "(", "test", ")"] {
            return Ok(None);
        }
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
        self.files.push(name);
        let file = self.files.len() - 1;
        let module = self.add(file, parent);
        self.parse(root, path, children, module, &words)?;
        Ok(Some(module))
    }

    fn add(&mut self, file: usize, parent: Option<usize>) -> usize {
        let id = self.modules.len();
        let krate = parent.map_or(id, |parent| self.modules[parent].krate);
        self.modules.push(Module {
            file,
            krate,
            parent,
            children: Vec::new(),
            items: BTreeSet::new(),
            uses: Vec::new(),
            body: Vec::new(),
        });
        id
    }

    /// Sorts the words of a module into items, `use` lines, modules below it and the rest.
    fn parse(&mut self, root: &Path, path: &Path, folder: &Path, module: usize, words: &[Word]) -> Result<(), String> {
        let mut at = 0;
        let mut depth = 0_usize;
        let mut other_file: Option<String> = None;
        while let Some(word) = words.get(at) {
            let next = words.get(at + 1);
            if word.is("#") && next.is_some_and(|next| next.is("[") || next.is("!")) {
                let end = after_attribute(words, at);
                let attribute = &words[at..end];
                if is_for_tests(attribute) {
                    at = after_item(words, end);
                    continue;
                }
                if let [_, _, name, _, value, ..] = attribute
                    && name.is("path")
                    && value.kind == Kind::Text
                {
                    other_file = Some(value.text.clone());
                } else if !attribute.iter().any(|word| LINTS.iter().any(|lint| word.is(lint))) {
                    self.modules[module].body.extend_from_slice(attribute);
                }
                at = end;
                continue;
            }
            if word.is("use") && !next.is_some_and(|next| next.is("<")) {
                let end = words[at..].iter().position(|word| word.is(";")).map_or(words.len(), |found| at + found);
                let public = ends_with_pub(&self.modules[module].body);
                for (path, name) in tree(&words[at + 1..end]) {
                    self.modules[module].uses.push(Use { path, name, public, line: word.line });
                }
                at = end + 1;
                continue;
            }
            if word.is("mod")
                && let Some(name) = next.filter(|next| next.kind == Kind::Name)
                && let Some(mark) = words.get(at + 2)
            {
                let other_file = other_file.take();
                if mark.is(";") {
                    let candidates = match &other_file {
                        Some(other) => vec![path.parent().unwrap_or(path).join(other)],
                        None => {
                            vec![folder.join(format!("{}.rs", name.text)), folder.join(&name.text).join("mod.rs")]
                        }
                    };
                    let Some(file) = candidates.iter().find(|path| path.is_file()) else {
                        return Err(format!("{}:{}: no file for `mod {}`", path.display(), name.line, name.text));
                    };
                    if let Some(child) = self.module_in(root, file, &folder.join(&name.text), Some(module))? {
                        self.modules[module].children.push((name.text.clone(), child));
                    }
                    at += 3;
                    continue;
                }
                if mark.is("{") {
                    let end = after_group(words, at + 2);
                    let child = self.add(self.modules[module].file, Some(module));
                    self.modules[module].children.push((name.text.clone(), child));
                    let inner = &words[at + 3..end.saturating_sub(1).max(at + 3)];
                    self.parse(root, path, &folder.join(&name.text), child, inner)?;
                    at = end;
                    continue;
                }
            }
            if word.is("{") {
                depth += 1;
            } else if word.is("}") {
                depth = depth.saturating_sub(1);
            } else if depth == 0
                && let Some(name) = defined(&words[at..])
            {
                self.modules[module].items.insert(name.to_owned());
            }
            self.modules[module].body.push(word.clone());
            at += 1;
        }
        Ok(())
    }

    /// All arrows between files, and all names from outside, in order.
    pub fn arrows(&self) -> (Vec<Arrow>, Vec<Import>) {
        let mut arrows = BTreeSet::new();
        let mut imports = BTreeSet::new();
        for id in 0..self.modules.len() {
            let from = self.modules[id].file;
            let mut found = |path: &[String], line: usize, targets: Vec<Target>| {
                for target in targets {
                    match target {
                        Target::Item(to) if to != from => {
                            arrows.insert(Arrow { from, to, line, path: path.join("::") });
                        }
                        Target::Outside(name) => {
                            imports.insert(Import { file: from, line, name });
                        }
                        Target::Item(_) | Target::Module(_) => {}
                    }
                }
            };
            for one in &self.modules[id].uses {
                let mut targets = self.resolve(id, &one.path, MOST_STEPS);
                if one.public {
                    // A module that shows what its children define does not depend on it.
                    targets.retain(|target| !matches!(target, Target::Item(file) if self.is_above(from, *file)));
                }
                found(&one.path, one.line, targets);
            }
            for (path, line) in self.paths(id) {
                let targets = self.resolve(id, &path, MOST_STEPS);
                found(&path, line, targets);
            }
        }
        (arrows.into_iter().collect(), imports.into_iter().collect())
    }

    /// Whether one file holds a module above one in the other file.
    pub fn is_above(&self, above: usize, file: usize) -> bool {
        self.modules.iter().filter(|module| module.file == file).any(|module| {
            let mut up = module.parent;
            while let Some(id) = up {
                if self.modules[id].file == above && above != file {
                    return true;
                }
                up = self.modules[id].parent;
            }
            false
        })
    }

    /// The paths in the body of a module that may lead out of its file.
    fn paths(&self, module: usize) -> Vec<(Vec<String>, usize)> {
        let body = &self.modules[module].body;
        let mut paths = Vec::new();
        let mut at = 0;
        while let Some(word) = body.get(at) {
            let start = at;
            at += 1;
            if word.kind != Kind::Name {
                continue;
            }
            let mut path = vec![word.text.clone()];
            while let [mark, name, ..] = &body[at.min(body.len())..]
                && mark.is("::")
                && name.kind == Kind::Name
            {
                path.push(name.text.clone());
                at += 2;
            }
            let before = start.checked_sub(1).and_then(|before| body.get(before));
            // A method, a field, the rest of a path behind `<...>`, or the name of what is defined here.
            if before.is_some_and(|before| [".", "::", "fn"].iter().any(|word| before.is(word))) {
                continue;
            }
            let called = body.get(at).is_some_and(|next| next.is("(") || next.is("!"));
            let typed = word.text.starts_with(char::is_uppercase);
            // A lone lower-case name is more often a variable than a function taken as a value.
            if path.len() == 1 && !called && !typed {
                continue;
            }
            // The `use` line of an item has made the arrow already; that of a module has not.
            let imported = self.modules[module].uses.iter().any(|one| one.name == word.text && !one.public);
            if imported && !self.look_up(module, &word.text, MOST_STEPS).iter().any(Target::is_module) {
                continue;
            }
            let keyword = ["crate", "self", "super"].contains(&word.text.as_str());
            let outside = path.len() > 1 && !typed && !PRIMITIVES.contains(&word.text.as_str());
            if keyword || outside || !self.look_up(module, &word.text, MOST_STEPS).is_empty() {
                paths.push((path, word.line));
            }
        }
        paths
    }

    fn resolve(&self, module: usize, path: &[String], steps: usize) -> Vec<Target> {
        let Some(head) = path.first() else { return Vec::new() };
        let mut rest = &path[1..];
        let mut targets = match head.as_str() {
            "crate" => vec![Target::Module(self.modules[module].krate)],
            "self" => vec![Target::Module(module)],
            "super" => {
                let mut up = self.modules[module].parent;
                while let Some((first, others)) = rest.split_first()
                    && first == "super"
                {
                    up = up.and_then(|up| self.modules[up].parent);
                    rest = others;
                }
                up.map(Target::Module).into_iter().collect()
            }
            "Self" => Vec::new(),
            name => self.look_up(module, name, steps),
        };
        if targets.is_empty() && head != "Self" && head != "super" {
            return match self.crates.get(head) {
                Some(&root) => self.walk(vec![Target::Module(root)], rest, steps),
                None => vec![Target::Outside(head.clone())],
            };
        }
        if !rest.is_empty() && targets.iter().any(Target::is_module) {
            // A function may have the name of a module; what follows `::` is then in the module.
            targets.retain(Target::is_module);
        }
        self.walk(targets, rest, steps)
    }

    fn walk(&self, mut targets: Vec<Target>, rest: &[String], steps: usize) -> Vec<Target> {
        for (index, name) in rest.iter().enumerate() {
            let last = index + 1 == rest.len();
            if name == "*" || name == "self" {
                break;
            }
            let mut next = Vec::new();
            for target in targets {
                let Target::Module(id) = target else {
                    next.push(target);
                    continue;
                };
                let mut found = self.look_up(id, name, steps);
                if !last && found.iter().any(Target::is_module) {
                    found.retain(Target::is_module);
                }
                if found.is_empty() {
                    // Made by a macro, or declared inside a block: it can only be here.
                    found.push(Target::Item(self.modules[id].file));
                }
                next.extend(found);
            }
            targets = next;
        }
        targets.sort();
        targets.dedup();
        targets
    }

    /// All that a name may stand for in a module: two `use` lines of one name are for two systems.
    fn look_up(&self, module: usize, name: &str, steps: usize) -> Vec<Target> {
        let Some(steps) = steps.checked_sub(1) else { return Vec::new() };
        let here = &self.modules[module];
        let mut targets: Vec<Target> = Vec::new();
        if here.items.contains(name) {
            targets.push(Target::Item(here.file));
        }
        targets.extend(here.children.iter().filter(|child| child.0 == name).map(|child| Target::Module(child.1)));
        for one in here.uses.iter().filter(|one| one.name == name) {
            // `use log;` names a crate, not itself.
            if one.path.len() == 1 && one.path[0] == name {
                continue;
            }
            targets.extend(self.resolve(module, &one.path, steps));
        }
        if targets.is_empty() {
            for one in here.uses.iter().filter(|one| one.name == "*") {
                // A glob of a glob would look here again.
                if one.path.first().is_some_and(|head| head == name) {
                    continue;
                }
                for target in self.resolve(module, &one.path, steps) {
                    if let Target::Module(id) = target
                        && id != module
                    {
                        targets.extend(self.look_up(id, name, steps));
                    }
                }
            }
        }
        targets.sort();
        targets.dedup();
        targets
    }
}

/// The leaves of `a::{b, c as d, e::*}`: path and name of each.
fn tree(words: &[Word]) -> Vec<(Vec<String>, String)> {
    let mut prefix = Vec::new();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if word.is("{") {
            let inner = &words[at + 1..after_group(words, at).saturating_sub(1).max(at + 1)];
            let mut leaves = Vec::new();
            for part in split_by_comma(inner) {
                for (path, name) in tree(part) {
                    let mut whole: Vec<String> = prefix.clone();
                    let name = if path == ["self"] && name == "self" {
                        prefix.last().cloned().unwrap_or_default()
                    } else {
                        name
                    };
                    if path != ["self"] || prefix.is_empty() {
                        whole.extend(path);
                    }
                    leaves.push((whole, name));
                }
            }
            return leaves;
        }
        if word.is("as") {
            let name = words.get(at + 1).map_or(String::new(), |word| word.text.clone());
            return vec![(prefix, name)];
        }
        if word.is("*") {
            return vec![(prefix, "*".to_owned())];
        }
        if word.kind == Kind::Name {
            prefix.push(word.text.clone());
        }
        at += 1;
    }
    let name = prefix.last().cloned().unwrap_or_default();
    if prefix.is_empty() { Vec::new() } else { vec![(prefix, name)] }
}

fn split_by_comma(words: &[Word]) -> Vec<&[Word]> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, word) in words.iter().enumerate() {
        if word.is("{") {
            depth += 1;
        } else if word.is("}") {
            depth = depth.saturating_sub(1);
        } else if word.is(",") && depth == 0 {
            parts.push(&words[start..at]);
            start = at + 1;
        }
    }
    parts.push(&words[start..]);
    parts
}

/// The name that these words define, if they begin an item.
fn defined(words: &[Word]) -> Option<&str> {
    let [keyword, name, ..] = words else { return None };
    let name = match keyword.text.as_str() {
        _ if keyword.kind != Kind::Name => return None,
        "fn" | "struct" | "enum" | "trait" | "type" | "const" => name,
        "union" if words.get(2).is_some_and(|next| next.is("{") || next.is("<")) => name,
        "static" if name.is("mut") => words.get(2)?,
        "static" => name,
        "macro_rules" => words.get(2)?,
        _ => return None,
    };
    (name.kind == Kind::Name && !name.is("fn")).then_some(name.text.as_str())
}

/// Whether a `use` behind these words is shown to other modules.
fn ends_with_pub(body: &[Word]) -> bool {
    match body {
        [.., last] if last.is("pub") => true,
        [.., open, _, close] if open.is("(") && close.is(")") => {
            body.len().checked_sub(4).and_then(|at| body.get(at)).is_some_and(|word| word.is("pub"))
        }
        _ => false,
    }
}

/// Whether an attribute keeps its item for tests alone.
fn is_for_tests(attribute: &[Word]) -> bool {
    let text: Vec<&str> = attribute.iter().map(|word| word.text.as_str()).collect();
    match text.as_slice() {
        ["#", "[", "test", "]"] | ["#", "[", "cfg", "(", "test", ")", "]"] => true,
        ["#", "[", "cfg", "(", "all", rest @ ..] => {
            // `all(unix, test)`, but not `all(unix, not(test))`.
            rest.windows(2).any(|pair| pair[1] == "test" && matches!(pair[0], "(" | ","))
                && !rest.contains(&"not")
                && !rest.contains(&"any")
        }
        _ => false,
    }
}

/// The place behind the attribute at `at`.
fn after_attribute(words: &[Word], at: usize) -> usize {
    let open = words[at..].iter().position(|word| word.is("[")).map_or(at, |found| at + found);
    after_group(words, open)
}

/// The place behind the bracket that closes the one at `at`.
fn after_group(words: &[Word], at: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, word) in words[at..].iter().enumerate() {
        if ["(", "[", "{"].iter().any(|open| word.is(open)) {
            depth += 1;
        } else if [")", "]", "}"].iter().any(|close| word.is(close)) {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return at + offset + 1;
            }
        }
    }
    words.len()
}

/// The place behind the item, field, arm or statement at `at`, other attributes of it included.
fn after_item(words: &[Word], mut at: usize) -> usize {
    while words.get(at).is_some_and(|word| word.is("#")) {
        at = after_attribute(words, at);
    }
    let keyword = words[at..].iter().find(|word| {
        let visibility = ["pub", "(", ")", "crate", "super", "in", "::", "unsafe", "async", "extern"];
        word.kind != Kind::Text && !visibility.iter().any(|part| word.is(part))
    });
    let is = |names: &[&str]| keyword.is_some_and(|word| names.iter().any(|name| word.is(name)));
    let to_semicolon = is(&["use", "static", "type", "let"]);
    let to_block = is(&["fn", "struct", "enum", "union", "trait", "impl", "mod", "macro_rules", "const"]);
    while let Some(word) = words.get(at) {
        if word.is(";") {
            return at + 1;
        }
        if word.is("}") || (word.is(",") && !to_block && !to_semicolon) {
            return if word.is(",") { at + 1 } else { at };
        }
        if word.is("{") && !to_semicolon {
            let end = after_group(words, at);
            // `const X: T = T { .. };` goes on to its semicolon, and so does a function that is `const`.
            return if words.get(end).is_some_and(|word| word.is(";") || word.is(",")) { end + 1 } else { end };
        }
        at = if ["(", "[", "{"].iter().any(|open| word.is(open)) { after_group(words, at) } else { at + 1 };
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(source: &str) -> Vec<String> {
        let words = rust::split(source).0;
        tree(&words).into_iter().map(|(path, name)| format!("{}={name}", path.join("::"))).collect()
    }

    #[test]
    fn a_use_line_is_split_into_its_leaves() {
        assert_eq!(leaves("a::b"), ["a::b=b"]);
        assert_eq!(
            leaves("crate::{a::{self, B as C}, d::*, e as _}"),
            ["crate::a=a", "crate::a::B=C", "crate::d=*", "crate::e=_"]
        );
        assert_eq!(leaves("{x::Y, self::z}"), ["x::Y=Y", "self::z=z"]);
    }

    #[test]
    fn an_attribute_for_tests_takes_its_item_along() {
        let rest = |source: &str| {
            let words = rust::split(source).0;
            let at = after_item(&words, 0);
            words[at..].iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(rest("#[a] pub(crate) fn f<A, B>(a: [u8; 2]) -> C { x; } next"), "next");
        assert_eq!(rest("mod tests; next"), "next");
        assert_eq!(rest("use a::{b, c}; next"), "next");
        assert_eq!(rest("const A: B = B { c: 1 }; next"), "next");
        assert_eq!(rest("field: Vec<u8>, next"), "next");
        assert_eq!(rest("last: u8 } next"), "} next");
    }

    #[test]
    fn only_code_for_tests_is_for_tests() {
        let is = |source: &str| is_for_tests(&rust::split(source).0);
        assert!(is("#[cfg(test)]") && is("#[test]") && is("#[cfg(all(unix, test))]") && is("#[cfg(all(test, unix))]"));
        assert!(!is("#[cfg(not(test))]") && !is("#[cfg(all(unix, not(test)))]") && !is("#[cfg(unix)]"));
    }
}
