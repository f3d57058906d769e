use super::*;

const OURS: ClusterId = ClusterId::from_bytes([1; 16]);
const THEIRS: ClusterId = ClusterId::from_bytes([2; 16]);

#[test]
fn a_missing_or_foreign_identity_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dirs = [dir.path().join("1"), dir.path().join("2")];
    assert!(matches!(check(&dirs[0], OURS, 1), Err(IdentityError::Missing { .. })));
    found(&dirs, OURS).expect("empty directories");
    let first = check(&dirs[0], OURS, 1).expect("ours");
    found(&dirs, OURS).expect("the same again");
    assert_eq!(check(&dirs[0], OURS, 1).expect("ours"), first);
    assert!(matches!(check(&dirs[0], THEIRS, 1), Err(IdentityError::Foreign { .. })));
    assert!(matches!(check(&dirs[0], OURS, 2), Err(IdentityError::Foreign { .. })));
    assert!(matches!(join(&dirs[0], OURS, 4, &[]), Err(IdentityError::Foreign { .. })));
    fs::write(dirs[0].join(NAME), "version = 9").expect("writable");
    assert!(matches!(check(&dirs[0], OURS, 1), Err(IdentityError::Unreadable { .. })));
}

/// Invariant 1: every founder knows the disks of all, and one that is missing is not made up for.
#[test]
fn founders_know_each_other_and_are_not_replaced_one_by_one() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dirs = [dir.path().join("1"), dir.path().join("2")];
    found(&dirs, OURS).expect("empty directories");
    let (first, second) = (check(&dirs[0], OURS, 1).expect("ours"), check(&dirs[1], OURS, 2).expect("ours"));
    assert_eq!(first.founders, second.founders);
    let disks: Vec<_> = first.founders.iter().map(|founder| Some(founder.disk)).collect();
    assert_eq!(disks, [first.disk, second.disk]);
    assert_ne!(first.disk, second.disk);
    fs::remove_dir_all(&dirs[1]).expect("wiped");
    assert!(matches!(found(&dirs, OURS), Err(IdentityError::Partial { .. })));
}

/// Invariant 3: a power cut before the note leaves a fresh directory; after it, a lost log or state is a wiped one.
#[test]
fn a_directory_that_lost_its_log_or_state_is_quarantined() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dir = dir.path();
    join(dir, OURS, 4, &[]).expect("empty");
    for (name, file) in [("log", "watermark"), ("state", "CURRENT")] {
        let identity = admit(dir, OURS, 4).expect("fresh: nothing was promised yet");
        fs::create_dir_all(dir.join("log")).expect("writable");
        fs::create_dir_all(dir.join("state")).expect("writable");
        fs::write(dir.join("log/watermark"), "").expect("writable");
        fs::write(dir.join("state/CURRENT"), "").expect("writable");
        begin(dir, &identity).expect("writable");
        admit(dir, OURS, 4).expect("whole");
        fs::remove_file(dir.join(name).join(file)).expect("there");
        let refused = admit(dir, OURS, 4).expect_err("wiped").to_string();
        assert!(refused.contains(name) && refused.contains("is gone") && refused.contains("raft remove"), "{refused}");
        write(dir, &Identity { begun: false, ..identity }).expect("writable");
    }
}

/// Invariant 4.
#[test]
fn a_noted_quarantine_stays() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    join(dir.path(), OURS, 4, &[]).expect("empty");
    quarantine(dir.path(), "it was removed").expect("writable");
    let refused = admit(dir.path(), OURS, 4).expect_err("noted").to_string();
    assert!(refused.contains("it was removed"), "{refused}");
    check(dir.path(), OURS, 4).expect("it is still known whose it is");
}

/// Golden: version 1 had neither disk nor founders.
#[test]
fn both_versions_of_the_file_are_read() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let id = "01".repeat(16);
    fs::write(dir.path().join(NAME), format!("version = 1\ncluster = \"{id}\"\nnode = 2\n")).expect("writable");
    assert_eq!(admit(dir.path(), OURS, 2).expect("known").disk, None);
    let disk = "02".repeat(16);
    let text = format!(
        "version = 2\ncluster = \"{id}\"\nnode = 1\ndisk = \"{disk}\"\nbegun = false\n\n[[founders]]\nnode = 1\ndisk = \
         \"{disk}\"\n"
    );
    fs::write(dir.path().join(NAME), &text).expect("writable");
    let identity = admit(dir.path(), OURS, 1).expect("known");
    assert_eq!(identity.founders, [Founder { node: 1, disk: DiskId::from_bytes([2; 16]) }]);
    assert_eq!(toml::to_string(&identity).expect("it can be written"), text);
}
