//! Members that come and go.

use proto::v1;
use proto::v1::reply::Result as Answer;
use tonic::Code;

use super::client::{self, Client, code, mkdir, put, stat};
use super::cluster::{Cluster, eventually};

/// Every running member agrees who votes.
async fn until_voters(cluster: &Cluster, nodes: &[u64]) {
    eventually("the voters are as wanted", || async {
        let mut agreed = true;
        for node in cluster.running() {
            let Ok(status) = cluster.try_status(node).await else { return false };
            let voters: Vec<u64> =
                status.members.iter().filter(|member| member.voter).map(|member| member.node).collect();
            agreed &= voters == nodes;
        }
        agreed
    })
    .await;
}

async fn add(cluster: &mut Cluster, leader: u64) -> u64 {
    let node = cluster.join().await;
    cluster.add(leader, &cluster.address(node).to_string()).await.expect("a new member");
    node
}

/// Grows from one to three, and shrinks to what was added: what the first one had is on the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_added_and_the_first_leader_is_removed() {
    let mut cluster = Cluster::start(1).await;
    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    assert_eq!(code(&client.update(1, mkdir("/kept", false)).await), None);
    for voters in [[1, 2].as_slice(), &[1, 2, 3]] {
        let node = add(&mut cluster, 1).await;
        assert_eq!(Some(&node), voters.last());
        until_voters(&cluster, voters).await;
    }
    assert_eq!(code(&client.update(2, put("/kept/file", b"content")).await), None);

    eventually("it serves", || async { cluster.transfer(1, 1).await.is_ok() }).await;
    let refused = cluster.remove(1, 1).await.expect_err("it leads");
    assert!(refused.message().contains("node 1 leads"), "{refused}");
    eventually("another leads", || async { cluster.transfer(1, 2).await.is_ok_and(|reply| reply.leader == 2) }).await;
    eventually("the new leader removes it", || async { cluster.remove(2, 1).await.is_ok() }).await;
    let reason = cluster.until_failed(1).await;
    assert!(reason.contains("node 1 was removed") && reason.contains("ashlar init --join"), "{reason}");
    until_voters(&cluster, &[2, 3]).await;
    // It stays away, and its number is not used again.
    let refused = cluster.try_revive(1).await.expect_err("quarantined").to_string();
    assert!(refused.contains("node 1 was removed"), "{refused}");
    assert_eq!(cluster.status(2).await.removed, [1]);
    cluster.remove(cluster.leader().await, 1).await.expect("harmless: it is removed");

    let mut client = Client::connect(&cluster, 0).await;
    let Answer::Opened(opened) = client.read(client::open("/kept/file")).await else { panic!("must open") };
    assert_eq!(opened.inline.as_deref(), Some(b"content".as_slice()));
    // Both are needed, and go on from their own disks.
    cluster.stop(2).await;
    cluster.stop(3).await;
    cluster.revive(2).await;
    cluster.revive(3).await;
    until_voters(&cluster, &[2, 3]).await;
    let mut client = Client::connect(&cluster, 0).await;
    assert!(matches!(client.read(stat("/kept/file")).await, Answer::Attributes(_)));
    cluster.stop_all().await;
}

/// A dead member is needed for nothing, and learns on its return that it has no place any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_is_removed_and_stays_away() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let (live, dead) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    cluster.stop(dead).await;
    let stranger = cluster.remove(leader, 9).await.expect_err("no member");
    assert_eq!((stranger.code(), stranger.message()), (Code::NotFound, "node 9 is no member"));
    cluster.remove(leader, dead).await.expect("two of three live");
    until_voters(&cluster, &{
        let mut left = [leader, live];
        left.sort_unstable();
        left
    })
    .await;
    cluster.revive(dead).await;
    let reason = cluster.until_failed(dead).await;
    assert!(reason.contains("was removed"), "{reason}");
    cluster.stop_all().await;
}

/// A member whose disk was wiped, and whose directory somebody made anew under the same number, takes no part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_member_is_refused_and_replaced() {
    let mut cluster = Cluster::start(3).await;
    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    assert_eq!(code(&client.update(1, put("/file", b"content")).await), None);
    let leader = cluster.leader().await;
    let wiped = leader % 3 + 1;
    cluster.stop(wiped).await;
    cluster.wipe(wiped, &["log"]);
    let refused = cluster.try_revive(wiped).await.expect_err("its log is gone").to_string();
    assert!(refused.contains("log/watermark is gone"), "{refused}");

    cluster.wipe(wiped, &["log", "state", "identity.toml"]);
    cluster.format_again(wiped).await;
    cluster.revive(wiped).await;
    let reason = cluster.until_failed(wiped).await;
    // Whichever is noticed first: what others know of it, or that it does not know what it acknowledged.
    let other = reason.contains("has another directory");
    assert!(other || reason.contains("acknowledged entries are lost"), "{reason}");

    let new = add(&mut cluster, leader).await;
    eventually("the wiped one is removed", || async { cluster.remove(leader, wiped).await.is_ok() }).await;
    let mut voters: Vec<u64> = (1..=3).filter(|node| *node != wiped).chain([new]).collect();
    voters.sort_unstable();
    until_voters(&cluster, &voters).await;
    // The new one is one of a majority.
    let old = (1..=3).find(|node| ![leader, wiped].contains(node)).expect("one of three");
    cluster.stop(old).await;
    let mut client = Client::connect(&cluster, 0).await;
    client.open_session().await;
    assert_eq!(code(&client.update(1, put("/more", b"content")).await), None);
    cluster.stop_all().await;
}

/// Rubbish on the membership calls has no effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_becomes_a_member_by_mistake() {
    let cluster = Cluster::start(1).await;
    let foreign = Cluster::foreign().await;
    eventually("it serves", || async { cluster.transfer(1, 1).await.is_ok() }).await;
    for (address, code) in [
        ("rubbish", Code::InvalidArgument),
        ("10.0.0.1:1", Code::InvalidArgument),
        ("127.0.0.1:1", Code::Unavailable),
        (foreign.address(1).to_string().as_str(), Code::InvalidArgument),
    ] {
        let refused = cluster.add(1, address).await.expect_err("no member");
        assert_eq!(refused.code(), code, "{address}: {refused}");
    }
    let members: Vec<v1::Member> = cluster.status(1).await.members;
    assert_eq!(members.len(), 1);
    foreign.stop_all().await;
    cluster.stop_all().await;
}
