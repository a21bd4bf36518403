//! Tasks go to hosts of their tenant and queue, and to no others.

use super::server;
use crate::support::eventually::eventually_there;
use crate::support::guests;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_waits_for_a_host_of_its_queue() {
    let (_server, cli) = server().await;
    cli.push("hello");
    let _other = cli.host(&[]);
    let id = cli.send(&["hello/add", "[1, 2]", "--queue", "gpu"]);
    assert_eq!(cli.run(&["call", "hello/add", "[1, 1]"]).output(), "2");
    assert_eq!(cli.state(&id), "queued");
    let _host = cli.host(&["--queues", "gpu,batch"]);
    assert_eq!(cli.settled(&id)["output"], 3);
    assert_eq!(cli.run(&["call", "hello/add", "[2, 2]", "--queue", "batch"]).output(), "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_see_neither_modules_nor_results_of_each_other() {
    let (_server, cli) = server().await;
    let _default = cli.host(&[]);
    let _blue = cli.host(&["--tenant", "blue"]);
    let hello = guests::built("hello");
    cli.run(&["module", "push", "hello", hello.to_str().unwrap(), "--tenant", "blue"]).output();
    let id = cli.send(&["hello/add", "[1, 2]", "--tenant", "blue"]);
    assert_eq!(cli.run(&["result", &id, "--wait", "--tenant", "blue"]).output(), "3");
    cli.run(&["call", "hello/add", "[1, 2]"]).fails(2, &["failed to find module hello"]);
    cli.run(&["result", &id]).fails(2, &["there is none"]);
    cli.run(&["cancel", &id]).fails(2, &["there is none"]);
    assert_eq!(cli.run(&["module", "ls", "--json"]).output(), "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_share_a_queue() {
    let (_server, cli) = server().await;
    cli.push_wat("spins", &guests::spins());
    let _hosts = [cli.host(&["--concurrency", "1"]), cli.host(&["--concurrency", "1"])];
    let ids = [(); 3].map(|()| cli.send(&["spins/run", "--fuel", "off"]));
    let running = || ids.iter().filter(|id| cli.state(id) == "running").count();
    eventually_there("both are busy", || (running() == 2).then_some(()));
    cli.run(&["cancel", &ids[0]]).output();
    eventually_there("the third runs", || (cli.state(&ids[2]) == "running").then_some(()));
}
