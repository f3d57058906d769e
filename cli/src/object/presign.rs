//! `ashlar object presign`

use std::time::{Duration, SystemTime};

use s3_gateway::Presign;

use super::name::ObjectName;
use crate::exit::Failure;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(super) struct PresignArgs {
    #[arg(value_name = "BUCKET/KEY")]
    object: ObjectName,
    /// What it lets do
    #[arg(long, default_value = "GET", value_parser = ["GET", "HEAD", "PUT", "DELETE"])]
    method: String,
    /// How long it lives, at most 7 days
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration)]
    expires: Duration,
    /// Of a gateway
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL", hide_env_values = true)]
    endpoint: String,
    #[arg(long, value_name = "NAME", env = "AWS_REGION", hide_env_values = true, default_value = "us-east-1")]
    region: String,
    /// The access key that signs it
    #[arg(long, value_name = "ID", env = "AWS_ACCESS_KEY_ID", hide_env_values = true)]
    access_key: String,
}

/// The secret comes from the environment alone: other processes see the command line.
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";

pub(super) fn run(args: &PresignArgs) -> Result<(), Failure> {
    let secret = std::env::var(SECRET)
        .map_err(|_| Failure::Usage(format!("the secret of {} is expected in {SECRET}", args.access_key)))?;
    let presign = Presign {
        endpoint: &args.endpoint,
        region: &args.region,
        access_key: &args.access_key,
        secret: &secret,
        method: &args.method,
        bucket: &args.object.bucket,
        key: &args.object.key,
        query: &[],
        now: SystemTime::now(),
        lifetime: args.expires,
    };
    let url = presign.url().map_err(|error| Failure::Usage(error.to_string()))?;
    let mut out = Output::stdout();
    out.line(url)?;
    out.flush()
}
