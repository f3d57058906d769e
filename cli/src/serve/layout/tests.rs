use super::*;

fn addresses(ports: &[u16]) -> Vec<SocketAddr> {
    ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect()
}

fn cluster_at(namenodes: &[u16], datanodes: &[u16]) -> Addresses {
    let http: Vec<u16> = namenodes.iter().chain(datanodes).map(|port| port + 3000).collect();
    Addresses { namenodes: addresses(namenodes), datanodes: addresses(datanodes), http: addresses(&http) }
}

fn layout(dir: &Path) -> Layout {
    let layout = Layout::draw(cluster_at(&[1001, 1002, 1003], &[2001, 2002])).expect("draws an id");
    layout.create(dir).expect("creates");
    layout
}

#[test]
fn what_is_created_is_found_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    assert!(!Layout::exists(dir.path()).expect("readable"));
    let layout = layout(dir.path());
    assert!(Layout::exists(dir.path()).expect("readable"));
    assert_eq!(Layout::load(dir.path()).expect("loads"), layout);

    let file = config::load_as_written(&node_file(dir.path(), "nn2")).expect("loads");
    let settings = file.namenode.expect("it is a namenode's");
    assert_eq!((settings.node, settings.dir, settings.replication), (2, dir.path().join("nn2"), 2));
    let file = config::load_as_written(&node_file(dir.path(), "dn2")).expect("loads");
    let settings = file.datanode.expect("it is a datanode's");
    assert_eq!((settings.host.as_str(), settings.volumes), ("dn2", vec![dir.path().join("dn2")]));
}

#[test]
fn moving_changes_addresses_everywhere_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut layout = layout(dir.path());
    let path = node_file(dir.path(), "dn1");
    let text = fs::read_to_string(&path).expect("reads").replace("[http]", "rack = \"r1\" # mine\n[http]");
    fs::write(&path, &text).expect("writes");
    // The new addresses overlap the old ones.
    layout.move_to(dir.path(), cluster_at(&[1002, 1003, 1004], &[2002, 2001])).expect("moves");
    assert_eq!(Layout::load(dir.path()).expect("loads"), layout);
    let text = text.replace("5001", "5002");
    let wanted = text.replace("1003", "1004").replace("1002", "1003").replace("1001", "1002").replace("2001", "2002");
    assert_eq!(fs::read_to_string(&path).expect("reads"), wanted);
}

#[test]
fn an_unfinished_cluster_is_made_anew_and_a_headless_one_is_left_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    layout(dir.path());
    fs::write(dir.path().join(UNFINISHED), b"").expect("writes");
    assert!(!Layout::exists(dir.path()).expect("readable"));
    assert!(!dir.path().join("nn1").exists());
    layout(dir.path());

    fs::remove_file(client_file(dir.path())).expect("removes");
    let failure = Layout::exists(dir.path()).expect_err("data is in the way");
    let wanted = format!(
        "{0}/dn1: is in the way of a new cluster, and {0}/client.toml is missing, without which it is not known whose \
         it is; bring that file back, or choose another directory",
        dir.path().display()
    );
    assert_eq!(failure.to_string(), wanted);
    assert!(dir.path().join("nn1").exists());
}

#[test]
fn a_directory_is_used_by_one_process() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let held = lock(dir.path()).expect("free");
    let failure = lock(dir.path()).expect_err("taken");
    let wanted = format!(
        "{}: another ashlar (process {}) uses this directory; stop it first, or choose another directory",
        dir.path().display(),
        std::process::id()
    );
    assert_eq!(failure.to_string(), wanted);
    drop(held);
    lock(dir.path()).expect("free again");
}
