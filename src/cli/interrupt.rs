//! Ctrl-c while something is awaited: whoever sits at a terminal is asked, anyone else has said before.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::ValueEnum;

use super::Fault;

/// What ctrl-c does where nobody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum OnInterrupt {
    /// Cancel what is awaited.
    Cancel,
    /// Leave it to go on, and say how to get its result.
    Detach,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Cancel what is awaited, and wait for that.
    Cancel,
    /// Leave it to go on.
    Detach,
    /// Go on waiting.
    GoOn,
}

/// Ctrl-c, from when this is made: none of them ends the process any more.
pub(super) struct Interrupts {
    /// What was said before; whoever sits at a terminal is asked where it is `None`.
    given: Option<OnInterrupt>,
    #[cfg(unix)]
    signals: tokio::signal::unix::Signal,
}

impl Interrupts {
    pub(super) fn listen(given: Option<OnInterrupt>) -> Result<Self, Fault> {
        #[cfg(unix)]
        let signals = {
            use tokio::signal::unix::{SignalKind, signal};
            signal(SignalKind::interrupt()).map_err(|error| failed(&error))?
        };
        Ok(Self {
            given,
            #[cfg(unix)]
            signals,
        })
    }

    /// Waits for ctrl-c, and finds out what it means: what was said before, else an answer at the terminal, else to detach. A
    /// second ctrl-c is an answer, too: detach.
    pub(super) async fn choice(&mut self) -> Result<Choice, Fault> {
        self.next().await?;
        match self.given {
            Some(OnInterrupt::Cancel) => return Ok(Choice::Cancel),
            Some(OnInterrupt::Detach) => return Ok(Choice::Detach),
            None if !is_asked() => return Ok(Choice::Detach),
            None => {}
        }
        let choice = tokio::select! {
            second = self.next() => second.map(|()| Choice::Detach)?,
            // The reading ends with the line, or with the process.
            answer = tokio::task::spawn_blocking(ask) => answer.unwrap_or(Choice::Detach),
        };
        if choice == Choice::GoOn {
            eprintln!("going on");
        }
        Ok(choice)
    }

    #[cfg(unix)]
    async fn next(&mut self) -> Result<(), Fault> {
        // It ends with the process alone.
        self.signals.recv().await;
        Ok(())
    }

    #[cfg(not(unix))]
    async fn next(&mut self) -> Result<(), Fault> {
        tokio::signal::ctrl_c().await.map_err(|error| failed(&error))
    }
}

fn failed(error: &std::io::Error) -> Fault {
    Fault::platform(format!("failed to listen for ctrl-c: {error}"))
}

fn is_asked() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks until there is an answer; the end of the input is one.
fn ask() -> Choice {
    loop {
        eprint!("\ncancel, detach or go on? [c/d/g] ");
        // A terminal that cannot be written to cannot be asked.
        drop(std::io::stderr().flush());
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => return Choice::Detach,
            Ok(_) => {}
        }
        if let Some(choice) = read(&line) {
            return choice;
        }
    }
}

fn read(line: &str) -> Option<Choice> {
    match line.trim().to_lowercase().as_str() {
        "c" | "cancel" => Some(Choice::Cancel),
        "d" | "detach" => Some(Choice::Detach),
        "g" | "go on" => Some(Choice::GoOn),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_letter_or_its_word() {
        for (line, choice) in [
            ("c\n", Some(Choice::Cancel)),
            (" Detach \n", Some(Choice::Detach)),
            ("g", Some(Choice::GoOn)),
            ("go on\r\n", Some(Choice::GoOn)),
            ("", None),
            ("y\n", None),
            ("cancel it", None),
        ] {
            assert_eq!(read(line), choice, "{line:?}");
        }
    }
}
