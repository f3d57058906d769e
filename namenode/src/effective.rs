//! The settings that hold: those of this member's configuration, with the policies of the cluster over them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use namespace::policy::{self, Policy};
use tracing::{info, warn};
use types::ByteSize;

use crate::settings::Settings;
use crate::store::Store;

#[derive(Debug)]
pub(crate) struct Effective {
    own: Settings,
    store: Arc<Store>,
    last: Mutex<(BTreeMap<Policy, u64>, Arc<Settings>)>,
}

impl Effective {
    pub(crate) fn new(own: Settings, store: Arc<Store>) -> Self {
        let last = Mutex::new((BTreeMap::new(), Arc::new(own.clone())));
        Self { own, store, last }
    }

    /// What is configured here.
    pub(crate) const fn own(&self) -> &Settings {
        &self.own
    }

    /// Whether nothing is to be changed now.
    pub(crate) fn is_safe(&self) -> bool {
        self.now();
        let last = self.last.lock().expect("no holder of this lock panics");
        last.0.get(&Policy::SafeMode).is_some_and(|on| *on != 0)
    }

    /// What holds now: a policy counts from the moment that it is applied.
    pub(crate) fn now(&self) -> Arc<Settings> {
        let policies = policy::all(&*self.store);
        let mut last = self.last.lock().expect("no holder of this lock panics");
        match policies {
            Ok(policies) if policies != last.0 => {
                info!(?policies, "the policies of the cluster are others");
                let settings = Arc::new(over(&self.own, &policies));
                *last = (policies, settings);
            }
            Ok(_) => {}
            // What cannot be read stops the process elsewhere.
            Err(error) => warn!(%error, "the policies of the cluster cannot be read"),
        }
        last.1.clone()
    }
}

fn over(own: &Settings, policies: &BTreeMap<Policy, u64>) -> Settings {
    let mut settings = own.clone();
    for (policy, value) in policies {
        match policy {
            // The state machine has looked at it.
            Policy::Replication => settings.replication = u8::try_from(*value).unwrap_or(u8::MAX),
            Policy::BlockSize => settings.block_size = ByteSize::new(*value),
            Policy::TrashExpiry => settings.trash_expiry = Duration::from_nanos(*value),
            Policy::DeleteGrace => settings.delete_grace = Duration::from_nanos(*value),
            // No setting: see `is_safe`.
            Policy::SafeMode => {}
        }
    }
    settings
}

/// What a policy would be without being set.
pub(crate) fn configured(own: &Settings, policy: Policy) -> u64 {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    match policy {
        Policy::Replication => u64::from(own.replication),
        Policy::BlockSize => own.block_size.get(),
        Policy::TrashExpiry => nanos(own.trash_expiry),
        Policy::DeleteGrace => nanos(own.delete_grace),
        Policy::SafeMode => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_go_over_what_is_configured() {
        let own = Settings::default();
        let set = [(Policy::Replication, 5), (Policy::TrashExpiry, 0)];
        let settings = over(&own, &set.into_iter().collect());
        assert_eq!((settings.replication, settings.trash_expiry), (5, Duration::ZERO));
        assert_eq!((settings.block_size, settings.delete_grace), (own.block_size, own.delete_grace));
        for policy in Policy::ALL {
            let same = over(&own, &BTreeMap::from([(policy, configured(&own, policy))]));
            assert_eq!(format!("{same:?}"), format!("{own:?}"));
        }
    }
}
