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

macro_rules! sdk {
    ($($path:literal),+ $(,)?) => {
        &[$(File { path: concat!("lovage-guest/", $path), text: include_str!(concat!("../../../guest-sdk/", $path)) },)+]
    };
}

/// The SDK for Rust, which a project carries with it: a build then needs nothing of the place that it came from.
const SDK: &[File] = sdk![
    "Cargo.toml",
    "wit/task.wit",
    "macros/Cargo.toml",
    "macros/src/lib.rs",
    "macros/src/task.rs",
    "src/arguments.rs",
    "src/blob.rs",
    "src/bytes.rs",
    "src/failure.rs",
    "src/guide.md",
    "src/heap.rs",
    "src/host.rs",
    "src/http.rs",
    "src/http_stand_in.rs",
    "src/http_wire.rs",
    "src/kv.rs",
    "src/lib.rs",
    "src/output.rs",
    "src/schema.rs",
    "src/secrets.rs",
    "src/stand_in.rs",
    "src/task.rs",
    "src/wire.rs",
];

impl Language {
    /// The files of its template.
    pub(super) fn files(self) -> impl Iterator<Item = &'static File> {
        let sdk = if matches!(self, Self::RustSdk) { SDK } else { &[] };
        self.own_files().iter().chain(sdk)
    }

    const fn own_files(self) -> &'static [File] {
        match self {
            Self::RustSdk => files!("rust-sdk": "README.md", "build", "Cargo.toml", "src/lib.rs"),
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
        if SDK.iter().any(|file| file.path == self.path) {
            return self.text.to_owned();
        }
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
            let files: Vec<&File> = language.files().collect();
            let has = |path: &str| files.iter().any(|file| file.path == path);
            assert!(has(BUILD) && has("README.md") && has("input.json") && has(".gitignore"), "{language:?}");
            let text: String = files.iter().map(|file| file.text_for("my-own")).collect();
            assert!(!text.contains("task-name") && !text.contains("task_name"), "{language:?}");
            assert!(text.contains("my-own.wasm"), "{language:?}");
        }
    }

    #[test]
    fn the_sdk_is_whole() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("guest-sdk");
        for folder in ["src", "macros/src", "wit"] {
            for file in std::fs::read_dir(root.join(folder)).unwrap() {
                let path = format!("lovage-guest/{folder}/{}", file.unwrap().file_name().to_str().unwrap());
                assert!(SDK.iter().any(|file| file.path == path), "{path} is not in the template");
            }
        }
    }

    #[test]
    fn a_readme_has_about_ten_lines() {
        for language in Language::value_variants() {
            let readme = language.files().find(|file| file.path == "README.md").unwrap();
            assert!(readme.text.lines().count() <= 12, "{language:?}");
        }
    }
}
