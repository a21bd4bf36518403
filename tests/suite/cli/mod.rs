//! The command line: what it prints, what it refuses and how it exits.
//!
//! | file | commands |
//! |---|---|
//! | `modules` | `lovage module ...` |
//! | `schedules` | `lovage schedule ...`, and tasks for later |
//! | `uploads` | files that are no module, or none that the platform runs |
//! | `guests` | `lovage call` of guests that misbehave |
//! | `arguments` | names and options that are wrong |
//! | `batches` | `lovage send --batch`, `lovage batch ...` |
//! | `waiting` | what is told while something is awaited, and ctrl-c |
//! | `watching` | what is told of a run while it goes on, and the logs of its steps |
//! | `gather` | `--singleton` and `--debounce` |
//! | `queues` | `lovage queue ...` |
//! | `dead` | `lovage dead ...` |
//! | `exec` | `lovage exec` of modules |
//! | `exec_flows` | `lovage exec` of flows |
//! | `flows` | `lovage flow ...` |
//! | `example_flows` | `lovage exec` of the example flows |

mod arguments;
mod batches;
mod dead;
mod deploy;
mod example_flows;
mod exec;
mod exec_flows;
mod flows;
mod gather;
mod guests;
mod limits;
mod modules;
mod new;
mod once;
mod queues;
mod runs;
mod schedules;
mod scripts;
mod uploads;
mod waiting;
mod watching;
