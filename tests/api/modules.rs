//! The modules of the library import each other in no circle, also where a name is re-exported in between.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module by its path below the crate.
type Module = Vec<String>;

struct House {
    text: BTreeMap<Module, String>,
    /// What a module re-exports: the name, and where it comes from.
    exports: BTreeMap<(Module, String), Module>,
}

fn read(folder: &Path, at: &[String], into: &mut BTreeMap<Module, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            read(&path, &[at, &[name]].concat(), into);
        } else if path.extension().is_some_and(|e| e == "rs") && !matches!(name.as_str(), "main" | "tests") {
            let module = if matches!(name.as_str(), "mod" | "lib") { at.to_vec() } else { [at, &[name]].concat() };
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
            let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
            into.insert(module, lines.collect::<Vec<_>>().join("\n"));
        }
    }
}

/// The paths that a tree of imports names: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn leaves(tree: &str) -> Vec<Module> {
    let segments = |text: &str| {
        let text = text.split(" as ").next().unwrap_or_default();
        text.split("::").map(str::trim).filter(|s| !s.is_empty() && *s != "self").map(str::to_owned).collect::<Module>()
    };
    // `self` in front is a place, and one behind is not.
    let front = |text: &str| if text.trim().starts_with("self::") { vec!["self".to_owned()] } else { Vec::new() };
    let Some((head, rest)) = tree.split_once('{') else { return vec![[front(tree), segments(tree)].concat()] };
    let inner = &rest[..rest.rfind('}').unwrap()];
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| leaves(part)).map(|leaf| [front(head), segments(head), leaf].concat()).collect()
}

impl House {
    fn read() -> Self {
        let mut text = BTreeMap::new();
        read(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src"), &[], &mut text);
        let mut house = Self { text, exports: BTreeMap::new() };
        let export = regex::Regex::new(r"pub(?:\([^)]*\))? use ([^;]+);").unwrap();
        for (module, text) in &house.text {
            for found in export.captures_iter(text) {
                for leaf in leaves(&found[1]) {
                    let name = leaf.last().unwrap().clone();
                    if let Some(from) = house.absolute(module, leaf) {
                        house.exports.insert((module.clone(), name), from);
                    }
                }
            }
        }
        house
    }

    /// A path as seen from `module`, from the crate on.
    fn absolute(&self, module: &Module, path: Module) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module, rest].concat()),
            "super" => {
                let mut base = module.clone();
                base.pop();
                if rest.first().is_some_and(|next| next == "super") {
                    return self.absolute(&base, rest.to_vec());
                }
                Some([&base[..], rest].concat())
            }
            _ => {
                let child = [&module[..], std::slice::from_ref(first)].concat();
                self.text.contains_key(&child).then(|| [&module[..], &path].concat())
            }
        }
    }

    /// The module in which `path` is really declared.
    fn home(&self, path: &[String]) -> Option<Module> {
        let known =
            (0..=path.len()).rev().map(|n| path.split_at(n)).find(|(module, _)| self.text.contains_key(*module))?;
        let (module, rest) = known;
        let exported = rest.first().and_then(|name| self.exports.get(&(module.to_vec(), name.clone())));
        match exported {
            Some(from) if from.as_slice() != path => self.home(&[from.as_slice(), &rest[1..]].concat()),
            _ => Some(module.to_vec()),
        }
    }

    /// Which modules `module` imports from. What it re-exports it does not use.
    fn imports(&self, module: &Module) -> BTreeSet<Module> {
        let text = &self.text[module];
        let import = regex::Regex::new(r"(?m)^\s*(pub(?:\([^)]*\))? )?use ([^;]+);").unwrap();
        let inline = regex::Regex::new(r"\b(?:crate|super)(?:::\w+)+").unwrap();
        let used =
            import.captures_iter(text).filter(|found| found.get(1).is_none()).flat_map(|found| leaves(&found[2]));
        let rest = import.replace_all(text, "");
        let named = inline.find_iter(&rest).map(|found| found.as_str().split("::").map(str::to_owned).collect());
        let places = used.chain(named).filter_map(|path: Module| self.absolute(module, path));
        places.filter_map(|path| self.home(&path)).filter(|home| home != module).collect()
    }
}

/// Modules that reach each other.
fn circles(graph: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let reached = |from: &Module| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(next) = open.pop() {
            for other in graph.get(next).into_iter().flatten() {
                if seen.insert(other.clone()) {
                    open.push(other);
                }
            }
        }
        seen
    };
    graph.keys().filter(|module| reached(module).contains(*module)).cloned().collect()
}

#[test]
fn there_is_no_circle() {
    let house = House::read();
    let graph: BTreeMap<_, _> = house.text.keys().map(|module| (module.clone(), house.imports(module))).collect();
    let arrows: usize = graph.values().map(BTreeSet::len).sum();
    assert!(graph.len() > 150 && arrows > 500, "{} modules, {arrows} arrows", graph.len());
    let found: Vec<String> = circles(&graph).iter().map(|module| module.join("::")).collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_circle_is_seen_through_what_is_exported_again() {
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
    let text = [
        ("a", "pub use one::One;\nmod one;"),
        ("a::one", "use crate::b::Two;\npub struct One;"),
        ("b", "use crate::a::{One, Other as Another};"),
        ("c", "use super::b::{self, Two};"),
    ];
    let mut house =
        House { text: text.map(|(path, text)| (module(path), text.to_owned())).into(), exports: BTreeMap::new() };
    house.exports.insert((module("a"), "One".into()), module("a::one::One"));
    let graph: BTreeMap<_, _> = house.text.keys().map(|at| (at.clone(), house.imports(at))).collect();
    assert_eq!(graph[&module("b")], BTreeSet::from([module("a"), module("a::one")]));
    assert_eq!(graph[&module("c")], BTreeSet::from([module("b")]));
    assert_eq!(circles(&graph), BTreeSet::from([module("a::one"), module("b")]));
}
