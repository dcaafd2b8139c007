//! The top-level modules of each crate are layers: a module uses only modules above it in `layers.txt`.
//!
//! The graph is read from the text: every `crate::…` and `super::…` path outside tests counts, and names that
//! the crate's root re-exports count for the module that defines them. The root itself may use everything.

use crate::source::{block, code, is_name, without_tests};
use crate::tree::{UPDATE, crates, files, is_reason, list, packages, read, relative};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Each top-level module with those that it uses.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// The reviewed order of one crate, lowest module first, and the uses that it excepts, each with its reason.
#[derive(Default, Debug)]
struct Order {
    modules: Vec<String>,
    exceptions: BTreeMap<(String, String), String>,
}

const HEADER: &str = "\
# The top-level modules of each crate, lowest first: a module uses only modules above it in this list.
# `except A -> B: reason` permits one use against the order. Checked, and written anew with
# SYNCLINE_UPDATE_HOUSE=1, by tests/house/layers.rs.
";

#[test]
fn modules_use_lower_modules_only() {
    let graphs: BTreeMap<String, Graph> = packages()
        .into_iter()
        .map(|(name, package)| (name, graph(&package.folder.join("src"))))
        .filter(|(_, graph)| graph.len() > 1)
        .collect();
    assert!(graphs.len() > 5, "{} crates have modules", graphs.len());
    let orders = parse(&list("layers.txt", |stored| {
        let old = parse(stored);
        let mut text = HEADER.to_owned();
        for (name, graph) in &graphs {
            write!(text, "\n[{name}]\n{}", derive(graph, old.get(name))).expect("a string");
        }
        text
    }));
    let mut wrong = Vec::new();
    for (name, graph) in &graphs {
        match orders.get(name) {
            Some(order) => violations(graph, order, |text| wrong.push(format!("{name}: {text}"))),
            None => wrong.push(format!("{name} has no order")),
        }
    }
    wrong.extend(
        orders.keys().filter(|name| !graphs.contains_key(*name)).map(|name| format!("no crate {name}")),
    );
    assert!(wrong.is_empty(), "{}\n{UPDATE}", wrong.join("\n"));
}

/// Reports every way in which `graph` disagrees with `order`.
fn violations(graph: &Graph, order: &Order, mut report: impl FnMut(String)) {
    let height: BTreeMap<&str, usize> = order.modules.iter().map(String::as_str).zip(0..).collect();
    for module in height.keys().filter(|module| !graph.contains_key(**module)) {
        report(format!("there is no module {module}"));
    }
    for (module, uses) in graph {
        let Some(own) = height.get(module.as_str()) else {
            report(format!("module {module} is not in the order"));
            continue;
        };
        for used in uses {
            let is_lower = height.get(used.as_str()).is_some_and(|other| other < own);
            if !is_lower && !order.exceptions.contains_key(&(module.clone(), used.clone())) {
                report(format!("{module} uses {used}, which is not below it"));
            }
        }
    }
    for ((module, used), reason) in &order.exceptions {
        if !graph.get(module).is_some_and(|uses| uses.contains(used)) {
            report(format!("{module} does not use {used}: the exception is obsolete"));
        }
        if !is_reason(reason) {
            report(format!("the exception {module} -> {used} has no reason"));
        }
    }
}

fn parse(text: &str) -> BTreeMap<String, Order> {
    let mut orders: BTreeMap<String, Order> = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(heading) = line.strip_prefix('[') {
            name = heading.trim_end_matches(']').to_owned();
            orders.entry(name.clone()).or_default();
            continue;
        }
        let order = orders.get_mut(&name).expect("a crate's heading comes first");
        if let Some(exception) = line.strip_prefix("except ") {
            let (uses, reason) = exception.split_once(": ").expect("an exception has a reason");
            let (module, used) = uses.split_once(" -> ").expect("an exception names two modules");
            order.exceptions.insert((module.to_owned(), used.to_owned()), reason.trim().to_owned());
        } else {
            order.modules.push(line.to_owned());
        }
    }
    orders
}

/// An order of `graph`, lowest module first. The first module of a cycle is the one with the fewest uses, and
/// these become exceptions. Reasons of the old order stay.
fn derive(graph: &Graph, old: Option<&Order>) -> String {
    let mut text = String::new();
    let mut exceptions = String::new();
    let mut rest: BTreeSet<&String> = graph.keys().collect();
    while !rest.is_empty() {
        let upward = |module: &String| graph[module].iter().filter(|used| rest.contains(used)).count();
        // A module that reaches as few others as any uses none, or is in a cycle that uses none outside.
        let reach = |module: &String| reachable(graph, &rest, module);
        let next =
            *rest.iter().min_by_key(|module| (reach(module), upward(module), **module)).expect("a module");
        for used in graph[next].iter().filter(|used| rest.contains(used)) {
            let key = (next.clone(), used.clone());
            let reason = old.and_then(|old| old.exceptions.get(&key)).map_or("TODO", String::as_str);
            writeln!(exceptions, "except {next} -> {used}: {reason}").expect("a string");
        }
        writeln!(text, "{next}").expect("a string");
        rest.remove(next);
    }
    text + &exceptions
}

/// The number of modules among `rest` that `module` uses, directly or not.
fn reachable(graph: &Graph, rest: &BTreeSet<&String>, module: &String) -> usize {
    let mut found = BTreeSet::from([module]);
    let mut open = vec![module];
    while let Some(next) = open.pop() {
        open.extend(graph[next].iter().filter(|used| rest.contains(used) && found.insert(used)));
    }
    found.len()
}

/// The graph of the crate whose sources are in `src`; empty if there are none.
fn graph(src: &Path) -> Graph {
    let Some(root) = ["lib.rs", "main.rs"].map(|name| src.join(name)).into_iter().find(|path| path.is_file())
    else {
        return Graph::new();
    };
    let (root_code, tests) = without_tests(&code(&read(&root)));
    let mut graph: Graph = declared(&root_code).map(|name| (name, BTreeSet::new())).collect();
    graph.retain(|name, _| !tests.contains(name));
    let exported = re_exports(&root_code, &graph);
    for path in files(src, ".rs").into_iter().filter(|path| *path != root) {
        let inside = path.strip_prefix(src).expect("below src").with_extension("");
        let mut place: Vec<String> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if place.last().is_some_and(|last| last == "mod") {
            place.pop();
        }
        let is_test = place.iter().any(|part| part == "tests");
        let Some(own) = place.first().filter(|own| graph.contains_key(*own) && !is_test).cloned() else {
            continue;
        };
        let (text, _) = without_tests(&code(&read(&path)));
        for name in used_from_root(&text, place.len()) {
            let module = if graph.contains_key(&name) { Some(&name) } else { exported.get(&name) };
            if let Some(module) = module.filter(|module| **module != own) {
                graph.get_mut(&own).expect("a module").insert(module.clone());
            }
        }
    }
    graph
}

/// The modules that the root declares.
fn declared(root: &str) -> impl Iterator<Item = String> {
    root.lines().filter_map(|line| {
        let item = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).unwrap_or(line);
        let name = item.strip_prefix("mod ")?;
        Some(name.chars().take_while(|c| is_name(*c)).collect())
    })
}

/// Each name that the root imports or re-exports from a module, with that module.
fn re_exports(root: &str, graph: &Graph) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for statement in root.split(';') {
        let Some((_, path)) = statement.rsplit_once("use ") else { continue };
        let path = path.trim().trim_start_matches("self::").trim_start_matches("crate::");
        let module: String = path.chars().take_while(|c| is_name(*c)).collect();
        if !graph.contains_key(&module) {
            continue;
        }
        for leaf in path[module.len()..].split(['{', '}', ',']) {
            let name: String = leaf.trim().chars().rev().take_while(|c| is_name(*c)).collect();
            let name: String = name.chars().rev().collect();
            found.insert(name, module.clone());
        }
    }
    found
}

/// How deep modules within a file may be.
const INLINE: usize = 3;

/// The first names of all paths in `text` that begin at the crate's root. `depth` is that of the text's module:
/// so many `super` lead to the root, and more in a module within the file.
fn used_from_root(text: &str, depth: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let supers = (depth..=depth + INLINE).map(|count| "super::".repeat(count));
    for prefix in supers.chain(["crate::".to_owned()]) {
        for (at, _) in text.match_indices(&prefix) {
            let before = text[..at].chars().next_back();
            // `other_crate::`, `$crate::`, and one `super` of a longer chain begin elsewhere.
            if before.is_some_and(|c| is_name(c) || c == '$' || c == ':') {
                continue;
            }
            let path = &text[at + prefix.len()..];
            if path.starts_with('{') {
                let group = &path[1..block(path) - 1];
                found.extend(split_group(group).map(first_name));
            } else {
                found.insert(first_name(path));
            }
        }
    }
    found.remove("super");
    found
}

fn first_name(path: &str) -> String {
    path.trim_start().chars().take_while(|c| is_name(*c)).collect()
}

/// The parts of a group of imports: split at commas that are not in an inner group.
fn split_group(group: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    group.split(move |c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    })
}

/// Another name for the root, or for a module, would hide uses from the check above.
#[test]
fn no_path_is_renamed() {
    let is_renamed = |line: &&str| {
        ["use crate as ", "use super as ", "use self as "].iter().any(|name| line.contains(name))
    };
    let renamed = files(&crates(), ".rs").into_iter().filter(|file| {
        let text = code(&read(file));
        text.lines().any(|line| is_renamed(&line))
    });
    let renamed: Vec<String> = renamed.map(|file| relative(&file)).collect();
    assert_eq!(renamed, [""; 0], "name the module itself");
}

/// A file that no `mod` line names is compiled by nobody: its tests never run, and its code rots.
#[test]
fn every_file_is_a_module() {
    let files = files(&crates(), ".rs");
    let text: BTreeMap<PathBuf, String> = files.iter().map(|file| (file.clone(), read(file))).collect();
    let orphans = files.iter().filter(|file| !is_module(file, &text));
    let orphans: Vec<String> = orphans.map(|file| relative(file)).collect();
    assert_eq!(orphans, [""; 0], "name these files in a `mod` line, or remove them");
}

/// Whether some file names this one as its module, or Cargo takes it as the root of a crate or test.
fn is_module(file: &Path, text: &BTreeMap<PathBuf, String>) -> bool {
    let name = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let (module, folder) = if name(file) == "mod" {
        let folder = file.parent().expect("a folder");
        (name(folder), folder.parent().expect("a folder"))
    } else {
        (name(file), file.parent().expect("a folder"))
    };
    let is_root = matches!(&*name(folder), "tests" | "examples" | "benches" | "bin")
        || name(folder) == "src" && matches!(&*module, "lib" | "main")
        || module == "build"
        || module == "main";
    let declares = |line: &str| {
        let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        let line = line.strip_prefix("pub(super) ").unwrap_or(line);
        line.strip_prefix("mod ").is_some_and(|rest| rest.trim_end_matches(';') == module)
    };
    // The parent is a file of the folder, or the file that is named like the folder.
    let parents = text
        .iter()
        .filter(|(other, _)| other.parent() == Some(folder) || **other == folder.with_extension("rs"));
    let path = format!("#[path = \"{module}.rs\"]");
    let mut parents = parents.into_iter();
    is_root || parents.any(|(_, text)| text.contains(&path) || text.lines().any(declares))
}

#[test]
fn paths_from_the_root_are_found() {
    let text = "use crate::a::B; use crate::{c::{D, E}, f}; crate::g(super::h::I, super::super::j, $crate::k, x_crate::l)";
    let found = |depth| used_from_root(text, depth).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(found(1), "a c f g h j");
    assert_eq!(found(2), "a c f g j");
}

#[test]
fn cycles_need_exceptions_with_reasons() {
    let uses = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let graph = Graph::from([
        ("a".to_owned(), uses(&["b"])),
        ("b".to_owned(), uses(&["c"])),
        ("c".to_owned(), uses(&["b"])),
    ]);
    let text = format!("[x]\n{}", derive(&graph, None));
    assert_eq!(text, "[x]\nb\na\nc\nexcept b -> c: TODO\n");
    let report = |text: &str| {
        let mut wrong = Vec::new();
        violations(&graph, &parse(text)["x"], |text| wrong.push(text));
        wrong.join("; ")
    };
    assert_eq!(report(&text.replace("TODO", "")), "the exception b -> c has no reason");
    assert_eq!(report(&text.replace("TODO", "they are one machine")), "");
    assert_eq!(report("[x]\nb\na\nc\n"), "b uses c, which is not below it");
    assert_eq!(report("[x]\nb\na\nexcept b -> c: so\n"), "module c is not in the order");
}
