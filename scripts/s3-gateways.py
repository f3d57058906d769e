#!/usr/bin/env python3
"""Two gateways of one cluster, one of which is killed: what a client was told is there, and nothing else is. Reads AWS_* from
the environment; ASHLAR names the binary, and the first argument the directory of a quickstart cluster."""

import concurrent.futures
import hashlib
import http.client
import os
import random
import re
import signal
import subprocess
import sys
import urllib.parse

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

CLUSTER = sys.argv[1]
BUCKET = f"gateways-{os.getpid()}"
PART = 5 << 20


def client(endpoint):
    config = Config(s3={"addressing_style": "path"}, signature_version="s3v4", retries={"total_max_attempts": 1}, max_pool_connections=20)
    return boto3.client("s3", endpoint_url=endpoint, config=config)


def another_gateway():
    """A process of its own, and a client of it."""
    with open(os.path.join(CLUSTER, "node-s3.toml")) as file:
        text = re.sub(r'(?m)^listen = .*$', 'listen = "127.0.0.1:0"', file.read())
    path = os.path.join(CLUSTER, "node-s3-other.toml")
    with open(path, "w") as file:
        file.write(text)
    process = subprocess.Popen([os.environ["ASHLAR"], "s3", "-c", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in process.stdout:
        found = re.search(r"(127\.0\.0\.1:\d+)", line)
        if found:
            return process, client(f"http://{found.group(1)}")
    raise AssertionError("the other gateway does not get ready")


def send_half(gateway, operation, body, **names):
    """Sends the head and the first half of a request, and gives the connection."""
    url = urllib.parse.urlsplit(gateway.generate_presigned_url(operation, Params=names, ExpiresIn=300))
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    connection.putrequest("PUT", f"{url.path}?{url.query}")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    connection.send(body[:len(body) // 2])
    return connection


def a_gateway_killed_amid_a_part_and_an_object_leaves_nothing_of_them():
    here = client(os.environ["AWS_ENDPOINT_URL"])
    here.create_bucket(Bucket=BUCKET)
    process, there = another_gateway()
    one, two = random.Random(1).randbytes(PART), random.Random(2).randbytes(PART + 17)
    upload = there.create_multipart_upload(Bucket=BUCKET, Key="whole")["UploadId"]
    name = dict(Bucket=BUCKET, Key="whole", UploadId=upload)
    etags = [there.upload_part(PartNumber=1, Body=one, **name)["ETag"]]
    half_sent = [send_half(there, "upload_part", two, PartNumber=2, **name),
                 send_half(there, "put_object", two, Bucket=BUCKET, Key="lost")]
    process.send_signal(signal.SIGKILL)
    process.wait()
    for connection in half_sent:
        try:
            connection.send(two[len(two) // 2:])
            raise AssertionError(f"a killed gateway has answered {connection.getresponse().status}")
        except (OSError, http.client.HTTPException):
            connection.close()
    # The part that was acknowledged is there, through the gateway that lives; of the others there is nothing.
    assert [part["PartNumber"] for part in here.list_parts(**name)["Parts"]] == [1]
    assert not here.list_objects_v2(Bucket=BUCKET).get("Contents")
    etags.append(here.upload_part(PartNumber=2, Body=two, **name)["ETag"])
    parts = {"Parts": [{"PartNumber": at, "ETag": etag} for at, etag in enumerate(etags, 1)]}
    done = here.complete_multipart_upload(MultipartUpload=parts, **name)
    assert here.get_object(Bucket=BUCKET, Key="whole")["Body"].read() == one + two
    # Asked once more through a third gateway, as by a client that never heard the answer.
    process, third = another_gateway()
    assert third.complete_multipart_upload(MultipartUpload=parts, **name)["ETag"] == done["ETag"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    here.delete_object(Bucket=BUCKET, Key="whole")
    here.delete_bucket(Bucket=BUCKET)


def completes_under_kills_are_whole_or_not_there():
    """A gateway is killed at a random moment while objects are completed through it. Each is then whole, or can be completed."""
    here = client(os.environ["AWS_ENDPOINT_URL"])
    here.create_bucket(Bucket=BUCKET)
    dice = random.Random(7)
    for round_ in range(3):
        process, there = another_gateway()
        uploads = {}
        for at in range(12):
            key, body = f"{round_}/{at}", dice.randbytes(1000 + at)
            upload = there.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
            etag = there.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=1, Body=body)["ETag"]
            uploads[key] = (upload, body, {"Parts": [{"PartNumber": 1, "ETag": etag}]})

        def complete(gateway, key):
            upload, _, parts = uploads[key]
            try:
                return gateway.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload=parts)
            except BotoCoreError:
                return None

        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            asked = [pool.submit(complete, there, key) for key in uploads]
            next(concurrent.futures.as_completed(asked))
            process.send_signal(signal.SIGKILL)
            process.wait()
            answered = [request.result(60) is not None for request in asked]
        for told, (key, (_, body, _)) in zip(answered, uploads.items()):
            if told:
                assert here.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body, "what was acknowledged is there"
            etag = complete(here, key)["ETag"]
            assert etag == f'"{hashlib.md5(hashlib.md5(body).digest()).hexdigest()}-1"'
            assert here.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body
            here.delete_object(Bucket=BUCKET, Key=key)
    assert not here.list_multipart_uploads(Bucket=BUCKET).get("Uploads")
    here.delete_bucket(Bucket=BUCKET)


def puts_under_kills_are_whole_or_not_there():
    """Clients put and overwrite objects through a gateway that is killed and started again. What was acknowledged is there, and what
    was not is whole or not there; the other gateway never stops to serve."""
    here = client(os.environ["AWS_ENDPOINT_URL"])
    here.create_bucket(Bucket=BUCKET)
    dice = random.Random(11)
    # By key: every content that was ever sent, and those that may be there.
    sent, allowed = {f"k/{at}": [] for at in range(8)}, {f"k/{at}": {None} for at in range(8)}
    for round_ in range(4):
        process, there = another_gateway()

        def put(key):
            for turn in range(6):
                content = hashlib.sha256(f"{key} {round_} {turn}".encode()).digest() * (40 if turn % 2 else 40_000)
                sent[key].append(content)
                try:
                    there.put_object(Bucket=BUCKET, Key=key, Body=content)
                except (BotoCoreError, ClientError):
                    allowed[key].add(content)
                    return
                allowed[key] = {content}

        with concurrent.futures.ThreadPoolExecutor(len(sent)) as pool:
            asked = [pool.submit(put, key) for key in sent]
            for _ in range(dice.randrange(3, 12)):
                # The gateway that lives serves meanwhile, and gives whole versions only.
                key = dice.choice(list(sent))
                try:
                    got = here.get_object(Bucket=BUCKET, Key=key)["Body"].read()
                    assert got in sent[key], f"{key} is a mixture"
                except here.exceptions.NoSuchKey:
                    pass
            process.send_signal(signal.SIGKILL)
            process.wait()
            for done in asked:
                done.result(60)
        for key, contents in allowed.items():
            try:
                got = here.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            except here.exceptions.NoSuchKey:
                got = None
            assert got in contents, f"round {round_}: {key} is not what was acknowledged"
            allowed[key] = {got}
    for key in sent:
        here.delete_object(Bucket=BUCKET, Key=key)
    here.delete_bucket(Bucket=BUCKET)


def who_reads_while_an_object_is_overwritten_gets_one_whole_version():
    here = client(os.environ["AWS_ENDPOINT_URL"])
    here.create_bucket(Bucket=BUCKET)
    versions = {f'"{hashlib.md5(body).hexdigest()}"': body for body in (random.Random(at).randbytes(3_000_000 + at) for at in range(3))}
    bodies = list(versions.values())
    here.put_object(Bucket=BUCKET, Key="hot", Body=bodies[0])
    slow = here.get_object(Bucket=BUCKET, Key="hot")
    begun = slow["Body"].read(10_000)

    def write(first):
        for turn in range(8):
            here.put_object(Bucket=BUCKET, Key="hot", Body=bodies[(first + turn) % 3])

    def read():
        for _ in range(10):
            got = here.get_object(Bucket=BUCKET, Key="hot")
            assert got["Body"].read() == versions[got["ETag"]], "a reader was given a mixture"

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(write, 1), pool.submit(write, 2)] + [pool.submit(read) for _ in range(4)]:
            done.result(120)
    here.delete_object(Bucket=BUCKET, Key="hot")
    assert begun + slow["Body"].read() == bodies[0], "who has begun to read reads on, whatever becomes of the object"
    here.delete_bucket(Bucket=BUCKET)


CLAIMS = [puts_under_kills_are_whole_or_not_there, who_reads_while_an_object_is_overwritten_gets_one_whole_version,
          a_gateway_killed_amid_a_part_and_an_object_leaves_nothing_of_them, completes_under_kills_are_whole_or_not_there]

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
