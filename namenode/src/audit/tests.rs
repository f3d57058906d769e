use super::*;

#[test]
fn what_is_denied_has_a_line_and_what_changes_by_default() {
    let taken = |audit: Audit, class, refused| audit.takes(class, refused);
    for class in [Class::Change, Class::Read, Class::Inner] {
        for code in [Code::Denied, Code::NotPermitted] {
            for audit in [Audit::Denied, Audit::Changes, Audit::All] {
                assert!(taken(audit, class, Some(code)), "invariant 1: {audit:?} {class:?} {code}");
            }
            assert!(!taken(Audit::Off, class, Some(code)));
        }
    }
    // That two wait for each other is no matter of rights.
    assert!(!taken(Audit::Changes, Class::Inner, Some(Code::Deadlock)));
    assert!(taken(Audit::default(), Class::Change, None) && taken(Audit::default(), Class::Change, Some(Code::Exists)));
    assert!(!taken(Audit::default(), Class::Read, None) && !taken(Audit::Denied, Class::Change, None));
    assert!(taken(Audit::All, Class::Read, None) && !taken(Audit::All, Class::Inner, None));
}
