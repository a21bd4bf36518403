//! Which task each exported function is: its own name, and more of the path to it only where names would meet.

use std::collections::HashMap;

use crate::model::TaskName;

/// Where a function is exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// The interface, as in `acme:photos/edit@1.2.0`; none at the root.
    pub(super) interface: Option<String>,
    pub(super) function: String,
}

/// The names of tasks, in the order of the paths: none where no name can be given.
///
/// A function at the root, and one whose name no other has, is called by its own name. Others are `edit_resize`, then
/// `photos_edit_resize` and so on; names in WIT hold no `_`, so that no two such names can meet.
pub(super) fn choose(paths: &[Path]) -> Vec<Option<TaskName>> {
    let mut chosen: Vec<Option<TaskName>> = vec![None; paths.len()];
    for level in 0..LEVELS {
        let candidates: Vec<String> = paths.iter().map(|path| path.name(level)).collect();
        let mut held: HashMap<&str, u32> = HashMap::new();
        for (path, candidate) in paths.iter().zip(&candidates) {
            // At its own level a root function has its name whoever else would like it.
            let weight = if path.interface.is_none() && level > 0 { 0 } else { 1 };
            let count = held.entry(candidate).or_default();
            *count = count.saturating_add(weight);
        }
        for ((path, candidate), slot) in paths.iter().zip(&candidates).zip(&mut chosen) {
            let is_alone = held.get(candidate.as_str()) == Some(&1) || (path.interface.is_none() && level == 0);
            if slot.is_none() && is_alone {
                *slot = candidate.parse().ok();
            }
        }
    }
    chosen
}

/// The function; and its interface; and the package; and the namespace; and the version.
const LEVELS: usize = 5;

/// Exports that toolchains add for themselves and call while they build, with the names of their parameters: those of
/// componentize-py and of componentize-qjs.
const OF_TOOLCHAINS: [(Option<&str>, &str, &[&str]); 2] = [
    (Some("exports"), "init", &["app-name", "symbols", "stub-wasi"]),
    (None, "init", &["shim", "script", "entry-path", "disable-gc"]),
];

impl Path {
    /// Whether a toolchain has added the function, which has parameters of these names.
    pub(super) fn is_of_toolchain(&self, params: &[&str]) -> bool {
        OF_TOOLCHAINS.iter().any(|(interface, function, names)| {
            self.interface.as_deref() == *interface && self.function == *function && params == *names
        })
    }

    /// The last parts of the path, joined by `_`: `level` of them besides the function.
    fn name(&self, level: usize) -> String {
        let Some(interface) = &self.interface else { return self.function.clone() };
        let (path, version) = interface.split_once('@').map_or((interface.as_str(), None), |(a, b)| (a, Some(b)));
        let mut parts: Vec<&str> = path.split([':', '/']).collect();
        if level + 1 == LEVELS {
            parts.extend(version);
        }
        let first = if level + 1 == LEVELS { 0 } else { parts.len().saturating_sub(level) };
        let prefix = parts.get(first..).unwrap_or_default();
        let name: Vec<&str> = prefix.iter().copied().chain([self.function.as_str()]).collect();
        name.join("_").replace(['.', '+'], "-")
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.interface {
            Some(interface) => write!(f, "{interface}.{}", self.function),
            None => f.write_str(&self.function),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(paths: &[(&str, &str)]) -> Vec<String> {
        let path = |(interface, function): &(&str, &str)| Path {
            interface: (!interface.is_empty()).then(|| (*interface).to_owned()),
            function: (*function).to_owned(),
        };
        let paths: Vec<Path> = paths.iter().map(path).collect();
        choose(&paths).into_iter().map(|name| name.map_or_else(String::new, |name| name.as_str().to_owned())).collect()
    }

    #[test]
    fn a_function_is_called_by_its_own_name_where_no_other_has_it() {
        assert_eq!(names(&[("", "add"), ("a:b/math@1.0.0", "sum")]), ["add", "sum"]);
        assert_eq!(names(&[("", "add"), ("a:b/math@1.0.0", "add")]), ["add", "math_add"]);
        assert_eq!(names(&[("a:b/x", "go"), ("a:b/y", "go"), ("a:b/y", "stop")]), ["x_go", "y_go", "stop"]);
        assert_eq!(names(&[("local", "go"), ("a:b/local", "go")]), ["local_go", "b_local_go"]);
    }

    #[test]
    fn where_names_meet_more_of_the_path_is_said() {
        assert_eq!(names(&[("a:b/x", "go"), ("a:c/x", "go")]), ["b_x_go", "c_x_go"]);
        assert_eq!(names(&[("a:b/x", "go"), ("c:b/x", "go")]), ["a_b_x_go", "c_b_x_go"]);
        assert_eq!(names(&[("a:b/x@1.0.0", "go"), ("a:b/x@2.0.0-rc", "go")]), ["a_b_x_1-0-0_go", "a_b_x_2-0-0-rc_go"]);
    }

    #[test]
    fn what_a_toolchain_adds_is_known_by_its_parameters() {
        let init = Path { interface: None, function: "init".to_owned() };
        assert!(init.is_of_toolchain(&["shim", "script", "entry-path", "disable-gc"]));
        assert!(!init.is_of_toolchain(&["name"]), "anybody may have a function of this name");
    }

    #[test]
    fn what_cannot_be_a_name_has_none() {
        assert_eq!(names(&[("", &"x".repeat(65)), ("", "fine")]), ["", "fine"]);
        assert_eq!(names(&[("", "[method]thing.go")]), [""]);
    }
}
