//! The files of the templates, which stand under `examples/templates` as projects of their own.

use super::Language;

/// One file of a template.
pub(super) struct File {
    /// Where it goes in the project.
    pub(super) path: &'static str,
    text: &'static str,
}

/// The file that is made executable.
pub(super) const BUILD: &str = "build";

/// What the project's name replaces, in texts; the second where a language takes no `-`.
const NAMES: [&str; 2] = ["task-name", "task_name"];

/// What a build makes and nobody keeps.
const IGNORED: &str = "*.wasm\n*.wasm.o\n/build.js\n/target\n/node_modules\n/.venv\n__pycache__\n";

macro_rules! files {
    ($language:literal: $($path:literal),+ $(; $shared:literal)?) => {
        &[
            $(File { path: $path, text: include_str!(concat!("../../../examples/templates/", $language, "/", $path)) },)+
            $(File { path: $shared, text: include_str!(concat!("../../../examples/templates/", $shared)) },)?
            File { path: "input.json", text: include_str!("../../../examples/templates/input.json") },
            File { path: ".gitignore", text: IGNORED },
        ]
    };
}

impl Language {
    /// The files of its template.
    pub(super) const fn files(self) -> &'static [File] {
        match self {
            Self::Rust => files!("rust": "README.md", "build", "Cargo.toml", "src/lib.rs"; "wit/task.wit"),
            Self::C => files!("c": "README.md", "build", "main.c"),
            Self::Cpp => files!("cpp": "README.md", "build", "main.cpp"),
            Self::Go => files!("go": "README.md", "build", "go.mod", "main.go"),
            Self::Zig => files!("zig": "README.md", "build", "main.zig"),
            Self::Javascript => files!("javascript": "README.md", "build", "main.js", "package.json"; "wit/task.wit"),
            Self::Typescript => files!("typescript": "README.md", "build", "main.ts", "package.json"; "wit/task.wit"),
            Self::Python => files!("python": "README.md", "build", "app.py"; "wit/task.wit"),
            Self::Assemblyscript => {
                files!("assemblyscript": "README.md", "build", "main.ts", "asconfig.json", "package.json")
            }
        }
    }
}

impl File {
    /// Its text in the project of that name.
    pub(super) fn text_for(&self, name: &str) -> String {
        let [dashed, joined] = NAMES;
        self.text.replace(dashed, name).replace(joined, &name.replace('-', "_"))
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_template_is_whole_and_named() {
        for language in Language::value_variants() {
            let files = language.files();
            let has = |path: &str| files.iter().any(|file| file.path == path);
            assert!(has(BUILD) && has("README.md") && has("input.json") && has(".gitignore"), "{language:?}");
            let text: String = files.iter().map(|file| file.text_for("my-own")).collect();
            assert!(!text.contains("task-name") && !text.contains("task_name"), "{language:?}");
            assert!(text.contains("my-own.wasm"), "{language:?}");
        }
    }

    #[test]
    fn a_readme_has_about_ten_lines() {
        for language in Language::value_variants() {
            let readme = language.files().iter().find(|file| file.path == "README.md").unwrap();
            assert!(readme.text.lines().count() <= 12, "{language:?}");
        }
    }
}
