//! The bytes of whether a datanode takes part.

use types::{NodeId, Sequence, Timestamp};

use super::hex;
use crate::codec::Batch;
use crate::command::{Command, Request};
use crate::error::Error;
use crate::row::{self, NodeRow, ResultRow, Service};

#[test]
fn whether_a_datanode_takes_part_keeps_its_bytes() {
    let node = NodeId::new(1);
    let maintenance = Service::Maintenance { until: Timestamp::from_nanos(7) };
    let commands = [
        Command::SetService { node, service: Service::Decommissioning, only_if: None, by: None },
        Command::SetService {
            node,
            service: Service::Decommissioned,
            only_if: Some(Service::Decommissioning),
            by: None,
        },
        Command::SetService { node, service: Service::InService, only_if: Some(maintenance), by: None },
    ];
    let request = |command| Request { time: Timestamp::from_nanos(9), origin: None, command, principal: None };
    let batch = Batch { requests: commands.into_iter().map(request).collect() };
    assert_eq!(Batch::decode(&batch.encode()), Ok(batch.clone()));
    let (host, transfer, rack) = ("dn".to_owned(), "t".to_owned(), "/r".to_owned());
    let away = NodeRow { id: node, host, transfer, rack, storages: vec![], service: Some(maintenance) };
    let refused = |error| row::encode(&ResultRow { sequence: Sequence::new(3), result: Err(error) });
    let rows = [
        (batch.encode(), LOG),
        (row::encode(&away), AWAY),
        (row::encode(&NodeRow { service: None, ..away.clone() }), IN_SERVICE),
        (refused(Error::UnknownNode { node }), "018203820182186c8101"),
        (refused(Error::LastInService { node }), "018203820182186d8101"),
    ];
    let (written, golden): (Vec<_>, Vec<_>) = rows.iter().map(|(bytes, golden)| (hex(bytes), *golden)).unzip();
    assert_eq!(written, golden);
    assert_eq!(row::decode(b"n", &row::encode(&away)), Ok(away));
}

const LOG: &str = "0181838309f682188a82018201808309f682188a83018202808201808309f682188a830182008082038107";
const AWAY: &str = "01860162646e6174622f728082038107";
const IN_SERVICE: &str = "01850162646e6174622f7280";
