//! `lovage new`: a ready project in a language, with its build command and a test input.

mod template;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Fault;
use template::File;

/// `lovage new`.
#[derive(Args)]
pub(super) struct New {
    /// The project's name, which its folder and its module have too.
    name: ProjectName,

    /// The language that it is written in.
    #[arg(long, value_enum)]
    lang: Language,

    /// The folder in which the project's folder is made.
    #[arg(long, value_name = "DIR", default_value = ".")]
    into: PathBuf,
}

/// The languages that there is a template for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// A typed component of about 20 KB.
    Rust,
    /// The same language with the SDK, whose sources come with the project: about 120 KB.
    RustSdk,
    /// A command of about 45 KB.
    C,
    /// A command of about 200 KB.
    #[value(alias = "c++")]
    Cpp,
    /// A command of about 4 MB.
    Go,
    /// A command of about 100 KB.
    Zig,
    /// A typed component of about 1 MB, with QuickJS.
    #[value(alias = "js")]
    Javascript,
    /// The same from TypeScript.
    #[value(alias = "ts")]
    Typescript,
    /// A typed component of about 18 MB, with CPython.
    #[value(alias = "py")]
    Python,
    /// A command of about 20 KB.
    #[value(alias = "as")]
    Assemblyscript,
}

/// A name that is one in all the languages: of a module, a crate, a package and a file.
#[derive(Clone, Debug)]
struct ProjectName(String);

const NAME_RULE: &str = "a name takes up to 40 characters of a-z, 0-9 and '-', the first a letter, the last no '-'";

/// Enough for people, and short enough for whatever the languages make of it.
const NAME_LEN_MAX: usize = 40;

/// Words that no crate may be called.
const RESERVED: [&str; 43] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "match",
    "mod",
    "move",
    "mut",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "test",
    "true",
    "type",
    "use",
    "while",
];

impl std::str::FromStr for ProjectName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let fits = (1..=NAME_LEN_MAX).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(is_allowed)
            && !text.ends_with('-')
            && !text.contains("--");
        if !fits {
            return Err(NAME_RULE.to_owned());
        }
        if RESERVED.contains(&text) {
            return Err(format!("{text} is a word of Rust's own, so that no crate may be called so"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl New {
    pub(super) fn run(&self) -> Result<(), Fault> {
        let name = &self.name.0;
        let folder = self.into.join(name);
        if folder.symlink_metadata().is_ok() {
            return Err(Fault::usage(format!("{} is there already", folder.display()))
                .hint("choose another name, or another folder with --into"));
        }
        self.write(&folder).map_err(|error| Fault::usage(format!("failed to write {}: {error}", folder.display())))?;
        eprintln!("{} is ready: its README.md says what to do", folder.display());
        super::output::line(&format!("cd {} && ./build && lovage exec {name}.wasm @input.json", folder.display()))
    }

    /// Writes the project beside its place and moves it there, so that it is never half there.
    fn write(&self, folder: &Path) -> std::io::Result<()> {
        let beside = tempfile::Builder::new().prefix(".new-").tempdir_in(&self.into)?;
        let made = beside.path().join(&self.name.0);
        for file in self.lang.files() {
            file.write(&made, &self.name.0)?;
        }
        std::fs::rename(&made, folder)
    }
}

impl File {
    fn write(&self, folder: &Path, name: &str) -> std::io::Result<()> {
        let path = folder.join(self.path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file = std::fs::File::create_new(&path)?;
        file.write_all(self.text_for(name).as_bytes())?;
        if self.path == template::BUILD {
            let mode = file.metadata()?.permissions().mode();
            // Whoever may read it may run it.
            file.set_permissions(std::fs::Permissions::from_mode(mode | (mode & 0o444) >> 2))?;
        }
        Ok(())
    }
}
