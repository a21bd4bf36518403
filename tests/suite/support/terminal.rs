//! A command at a terminal: `script` of util-linux gives it one, and what is typed reaches it as from a keyboard.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use super::eventually::{PATIENCE, eventually_there};

/// What ctrl-c types.
pub(crate) const CTRL_C: &str = "\x03";

#[derive(Default)]
struct Shown {
    text: String,
    closed: bool,
}

/// A command at a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    shown: Arc<(Mutex<Shown>, Condvar)>,
}

impl Terminal {
    /// Starts `command` at a terminal.
    pub(crate) fn start(command: &Command) -> Self {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let quoted: Vec<String> =
            words.map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''"))).collect();
        let mut script = Command::new("script");
        script.args(["-qefc", &format!("exec {}", quoted.join(" ")), "/dev/null"]);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        script.env("SHELL", "/bin/sh");
        let piped = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = piped.spawn().expect("script is there: it comes with util-linux");
        let (keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let shown: Arc<(Mutex<Shown>, Condvar)> = Arc::default();
        let drawn = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                drawn.0.lock().unwrap().text.push_str(&String::from_utf8_lossy(&bytes[..count]));
                drawn.1.notify_all();
            }
            drawn.0.lock().unwrap().closed = true;
            drawn.1.notify_all();
        });
        Self { child, keyboard, shown }
    }

    /// Types `text`.
    pub(crate) fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Waits until `text` was shown `count` times in all.
    pub(crate) fn shows(&self, text: &str, count: usize) -> String {
        let (shown, changed) = &*self.shown;
        let missing = |shown: &mut Shown| shown.text.matches(text).count() < count && !shown.closed;
        let (shown, _) = changed.wait_timeout_while(shown.lock().unwrap(), PATIENCE, missing).unwrap();
        assert!(shown.text.matches(text).count() >= count, "no {text:?}; it shows:\n{}", shown.text);
        shown.text.clone()
    }

    /// Waits until the command has ended: its exit code, and all that was shown.
    pub(crate) fn exit(&mut self) -> (i32, String) {
        let status = eventually_there("the command ends", || self.child.try_wait().unwrap());
        let (shown, changed) = &*self.shown;
        let (shown, _) = changed.wait_timeout_while(shown.lock().unwrap(), PATIENCE, |shown| !shown.closed).unwrap();
        (status.code().unwrap_or(-1), shown.text.clone())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not be.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
