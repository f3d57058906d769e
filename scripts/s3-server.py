#!/usr/bin/env python3
"""Claims about the server of an S3 gateway: TLS, log, metrics, and what a client may take. Reads AWS_* and, of a second
gateway with TLS and narrow limits, TLS_ENDPOINT_URL, TLS_CA, ACCESS_LOG and GATEWAY_LOG from the environment."""

import json
import os
import random
import re
import socket
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, SSLError

PLAIN, SECURE = os.environ["AWS_ENDPOINT_URL"], os.environ["TLS_ENDPOINT_URL"]
CA, LOG = os.environ["TLS_CA"], os.environ["ACCESS_LOG"]
BUCKET = f"server-{os.getpid()}-{random.randrange(10**6)}"
DEADLINE = 60


def client(endpoint, **changes):
    config = Config(s3={"addressing_style": "path"}, signature_version="s3v4", retries={"total_max_attempts": 1})
    return boto3.client("s3", endpoint_url=endpoint, config=config, verify=changes.pop("verify", CA), **changes)


s3 = client(SECURE)


def get(url):
    return urllib.request.urlopen(url, context=ssl.create_default_context(cafile=CA)).read()


def connect(wrapped=True):
    address = urllib.parse.urlparse(SECURE)
    raw = socket.create_connection((address.hostname, address.port), timeout=DEADLINE)
    return ssl.create_default_context(cafile=CA).wrap_socket(raw, server_hostname="localhost") if wrapped else raw


def ended(connection):
    """Whether the other side has closed the connection, or does so before the deadline."""
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def lines():
    """Of the access log."""
    if not os.path.exists(LOG):
        return []
    with open(LOG) as log:
        return log.read().splitlines()


def until(holds, what):
    end = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < end, f"not within {DEADLINE} s: {what}"
        time.sleep(0.1)


def a_client_that_knows_the_authority_is_served_over_tls():
    s3.create_bucket(Bucket=BUCKET)
    body = random.Random(1).randbytes(5_000_000)
    s3.put_object(Bucket=BUCKET, Key="secure", Body=body, ChecksumAlgorithm="CRC32")
    assert s3.get_object(Bucket=BUCKET, Key="secure")["Body"].read() == body
    assert client(PLAIN).get_object(Bucket=BUCKET, Key="secure")["Body"].read() == body
    try:
        client(SECURE, verify=True).list_buckets()
    except SSLError:
        pass
    else:
        raise AssertionError("a client that does not know the authority has talked to the gateway")
    with connect(wrapped=False) as raw:
        raw.sendall(b"GET /-/health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" not in raw.recv(1000), "no plain HTTP where TLS is spoken"


def a_policy_tells_tls_from_plain_http():
    arn = f"arn:aws:s3:::{BUCKET}"
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": {
        "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}}}}))
    s3.head_object(Bucket=BUCKET, Key="secure")

    def denied():
        try:
            client(PLAIN).get_object(Bucket=BUCKET, Key="secure")
        except ClientError as error:
            return error.response["Error"]["Code"] == "AccessDenied"
        return False

    # Another gateway may not know of a change for a second.
    until(denied, "the other gateway follows the policy")
    s3.delete_bucket_policy(Bucket=BUCKET)


def the_access_log_has_a_line_for_each_request_and_follows_rotation():
    pattern = re.compile(rf'^\S+ {BUCKET} \[\d\d/\w+/\d+:[\d:]+ \+0000\] 127\.0\.0\.1 \d+ [0-9A-F]+ REST\.GET\.OBJECT logged '
                         rf'"GET /{BUCKET}/logged\S* HTTP/1\.1" 200 - 4 4 \d+ \d+ - "[^"]*" - - SigV4 TLS\S+ AuthHeader '
                         r'\S+ TLSv1\.[23] - -$')
    s3.put_object(Bucket=BUCKET, Key="logged", Body=b"line")
    s3.get_object(Bucket=BUCKET, Key="logged")["Body"].read()
    until(lambda: any(pattern.match(line) for line in lines()), f"a line such as {pattern.pattern}")
    os.rename(LOG, LOG + ".1")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "logged"}, ExpiresIn=60)
    assert get(url) == b"line"
    until(lambda: any("QueryString" in line for line in lines()), "a line in the new file")
    assert "Signature=" not in open(LOG).read(), "what makes a URL a right stays out of the log"
    try:
        s3.get_object(Bucket=BUCKET, Key="none")
    except ClientError:
        pass
    until(lambda: any(" 404 NoSuchKey " in line for line in lines()), "a line for an error")


def what_is_denied_has_a_line_of_audit():
    try:
        get(f"{SECURE}/{BUCKET}/secure")
    except urllib.error.HTTPError as error:
        assert error.code == 403, error
        number = error.headers["x-amz-request-id"]
    else:
        raise AssertionError("who has no key has read an object")

    def told():
        with open(os.environ["GATEWAY_LOG"]) as log:
            return any("s3_gateway::audit" in line and number in line and BUCKET in line and "GetObject" in line and
                       "AccessDenied" in line for line in log)

    until(told, f"a line of audit for request {number}")


def metrics_tell_what_was_done():
    found = get(f"{SECURE}/-/metrics").decode()
    puts = re.search(r'^ashlar_s3_requests_total\{operation="PutObject",status="200"\} (\d+)$', found, re.M)
    assert puts and int(puts[1]) >= 2, found
    assert int(re.search(r"^ashlar_s3_received_bytes_total (\d+)$", found, re.M)[1]) >= 5_000_000
    assert int(re.search(r"^ashlar_s3_requests_in_flight (\d+)$", found, re.M)[1]) == 1, "this one"
    assert 'ashlar_s3_request_duration_seconds_bucket{le="60.0",operation="GetObject"}' in found
    assert get(f"{SECURE}/-/health") == b"ok\n"


def a_head_that_is_too_large_or_too_slow_is_cut():
    with connect() as large:
        large.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"x" * 17_000 + b"\r\n\r\n")
        assert b"RequestHeaderSectionTooLarge" in large.recv(65536)
    with connect() as slow:
        begun = time.monotonic()
        slow.sendall(b"GET / HTTP/1.1\r\nHost: loc")
        assert ended(slow) and time.monotonic() - begun < 30, "it has two seconds"


def begin_put(key, length):
    url = urllib.parse.urlparse(
        s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=600))
    connection = connect()
    head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def a_body_that_drips_is_cut():
    with begin_put("dripped", 1_000_000) as dripping:
        dripping.settimeout(0.2)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                dripping.sendall(b"0123456789")
                answer = dripping.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break
            assert not answer.startswith(b"HTTP/1.1 200"), answer
            break
        else:
            raise AssertionError("a body of 50 bytes a second is still taken")
    absent("dripped")


def absent(key):
    try:
        s3.head_object(Bucket=BUCKET, Key=key)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "404", error
    else:
        raise AssertionError(f"{key} is there")


def a_client_that_goes_away_leaves_no_object():
    with begin_put("gone", 60_000_000) as gone:
        gone.sendall(random.Random(2).randbytes(20_000_000))
    told = re.compile(rf'^\S+ {BUCKET} .* REST\.PUT\.OBJECT gone ".*" 4\d\d ')
    until(lambda: any(told.match(line) for line in lines()), f"a line such as {told.pattern}")
    absent("gone")


def an_address_has_so_many_connections():
    held = [connect(wrapped=False) for _ in range(24)]
    try:
        held[-1].settimeout(DEADLINE)
        begun = time.monotonic()
        assert ended(held[-1]) and time.monotonic() - begun < 1.5, "sixteen are open, and TLS has two seconds"
    finally:
        for connection in held:
            connection.close()

    def served():
        try:
            return get(f"{SECURE}/-/health") == b"ok\n"
        except OSError:
            return False

    # The gateway learns of each close by itself.
    until(served, "the address has room again")


def what_was_made_is_removed():
    for key in ["secure", "logged"]:
        s3.delete_object(Bucket=BUCKET, Key=key)
    s3.delete_bucket(Bucket=BUCKET)


CLAIMS = [a_client_that_knows_the_authority_is_served_over_tls, a_policy_tells_tls_from_plain_http,
          the_access_log_has_a_line_for_each_request_and_follows_rotation, what_is_denied_has_a_line_of_audit,
          metrics_tell_what_was_done, a_head_that_is_too_large_or_too_slow_is_cut, a_body_that_drips_is_cut,
          a_client_that_goes_away_leaves_no_object, an_address_has_so_many_connections, what_was_made_is_removed]

if __name__ == "__main__":
    failed = 0
    for claim in CLAIMS:
        try:
            claim()
            print(f"ok      {claim.__name__}", flush=True)
        except Exception as error:  # each claim is told of
            failed += 1
            print(f"FAILED  {claim.__name__}: {type(error).__name__}: {error}", flush=True)
    sys.exit(1 if failed else 0)
