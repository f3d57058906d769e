//! What the system promises, against real processes. One binary, so that it links once.

mod balance;
mod bit_rot;
mod command_line;
mod datanode_loss;
mod drain;
mod first_cluster;
mod fsck;
mod full_disk;
mod half_put;
mod inventories;
mod leader_loss;
mod leader_pause;
mod linearizable;
mod lost_writer;
mod membership;
mod object_store;
mod permissions;
mod quickstart;
mod quota;
mod random_writes;
mod restart;
mod trash;
mod trees;
mod vanished_client;
mod watches;
mod web;
