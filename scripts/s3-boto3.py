#!/usr/bin/env python3
"""Claims about the S3 gateway, held against it by Amazon's own client. Reads AWS_* from the environment."""

import base64
import concurrent.futures
import hashlib
import json
import os
import random
import sys
import urllib.error
import urllib.request

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
STYLE = {"addressing_style": "path"}
BUCKET = f"claims-{os.getpid()}-{random.randrange(10**6)}"


def client(**changes):
    config = Config(s3=STYLE, retries={"total_max_attempts": 1}, **changes.pop("config", {}))
    return boto3.client("s3", endpoint_url=ENDPOINT, config=config, **changes)


s3 = client()


def refused(status, code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except ClientError as error:
        meta = error.response["ResponseMetadata"]
        got = (meta["HTTPStatusCode"], error.response["Error"]["Code"])
        assert got == (status, code), f"expected {status} {code}, got {got}: {error}"
        assert meta.get("HTTPHeaders", {}).get("x-amz-request-id"), "every answer has a request id"
        return
    raise AssertionError(f"expected {status} {code}, and it was done")


def keys(**kwargs):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, **kwargs)
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


def buckets_are_made_and_found():
    s3.create_bucket(Bucket=BUCKET)
    s3.head_bucket(Bucket=BUCKET)
    assert BUCKET in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert s3.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] is None
    assert "Status" not in s3.get_bucket_versioning(Bucket=BUCKET)
    refused(404, "404", s3.head_bucket, Bucket="no-such-bucket-here")
    refused(404, "NoSuchBucket", s3.list_objects_v2, Bucket="no-such-bucket-here")
    refused(404, "NoSuchBucket", s3.put_object, Bucket="no-such-bucket-here", Key="k", Body=b"1")
    refused(400, "InvalidBucketName", client().create_bucket, Bucket="192.168.0.1")


def objects_come_back_as_they_were_put():
    for size in [0, 1, 4096, 16 << 10, (16 << 10) + 1, 300_000, 3 << 20]:
        body = random.Random(size).randbytes(size)
        put = s3.put_object(Bucket=BUCKET, Key=f"size/{size}", Body=body, ContentType="text/x-claim",
                            CacheControl="no-store", Metadata={"colour": "blue"})
        assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"', put["ETag"]
        got = s3.get_object(Bucket=BUCKET, Key=f"size/{size}")
        assert got["Body"].read() == body
        assert (got["ContentType"], got["CacheControl"], got["Metadata"]) == ("text/x-claim", "no-store", {"colour": "blue"})
        head = s3.head_object(Bucket=BUCKET, Key=f"size/{size}", ChecksumMode="ENABLED")
        assert head["ContentLength"] == size and head["ETag"] == put["ETag"]
        assert any(name.startswith("Checksum") for name in head), head
    refused(404, "NoSuchKey", s3.get_object, Bucket=BUCKET, Key="size/none")
    refused(404, "404", s3.head_object, Bucket=BUCKET, Key="size")


def ranges_are_exact():
    body = random.Random(7).randbytes(1_500_000)
    s3.put_object(Bucket=BUCKET, Key="ranged", Body=body)
    for header, part in [("bytes=0-0", body[:1]), ("bytes=5-1048580", body[5:1048581]), ("bytes=-100", body[-100:]),
                         ("bytes=1499999-", body[-1:]), ("bytes=-9000000", body), ("bytes=100-99999999", body[100:])]:
        got = s3.get_object(Bucket=BUCKET, Key="ranged", Range=header)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206, header
        assert got["Body"].read() == part, header
    refused(416, "InvalidRange", s3.get_object, Bucket=BUCKET, Key="ranged", Range="bytes=1500000-")


def conditions_are_kept():
    put = s3.put_object(Bucket=BUCKET, Key="guarded", Body=b"1", IfNoneMatch="*")
    etag = put["ETag"]
    refused(412, "PreconditionFailed", s3.put_object, Bucket=BUCKET, Key="guarded", Body=b"2", IfNoneMatch="*")
    refused(412, "PreconditionFailed", s3.put_object, Bucket=BUCKET, Key="guarded", Body=b"2", IfMatch='"other"')
    refused(404, "NoSuchKey", s3.put_object, Bucket=BUCKET, Key="unguarded", Body=b"2", IfMatch=etag)
    refused(412, "PreconditionFailed", s3.get_object, Bucket=BUCKET, Key="guarded", IfMatch='"other"')
    refused(304, "304", s3.get_object, Bucket=BUCKET, Key="guarded", IfNoneMatch=etag)
    refused(412, "PreconditionFailed", s3.delete_object, Bucket=BUCKET, Key="guarded", IfMatch='"other"')
    s3.put_object(Bucket=BUCKET, Key="guarded", Body=b"2", IfMatch=etag)
    assert s3.get_object(Bucket=BUCKET, Key="guarded")["Body"].read() == b"2"

    def race(at):
        try:
            s3.put_object(Bucket=BUCKET, Key="raced", Body=str(at).encode() * 40_000, IfNoneMatch="*")
            return at
        except ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed", error
            return None

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        winners = [at for at in pool.map(race, range(64)) if at is not None]
    assert len(winners) == 1, winners
    assert s3.get_object(Bucket=BUCKET, Key="raced")["Body"].read() == str(winners[0]).encode() * 40_000


def listings_are_in_the_order_of_keys():
    names = ["l/foo/a", "l/foo/b/c", "l/foo-1", "l/foo.txt", "l/foo0", "l/ x", "l/a+b", "l/\u00e9", "l/z/"]
    for name in names:
        s3.put_object(Bucket=BUCKET, Key=name, Body=b"")
    flat = sorted(names, key=lambda name: name.encode())
    assert keys(Prefix="l/") == flat
    for size in [1, 2, 3]:
        assert keys(Prefix="l/", PaginationConfig={"PageSize": size}) == flat
        pages = s3.get_paginator("list_objects").paginate(Bucket=BUCKET, Prefix="l/", PaginationConfig={"PageSize": size})
        assert [item["Key"] for page in pages for item in page.get("Contents", [])] == flat
    page = s3.list_objects_v2(Bucket=BUCKET, Prefix="l/", Delimiter="/")
    assert [prefix["Prefix"] for prefix in page["CommonPrefixes"]] == ["l/foo/", "l/z/"]
    assert [item["Key"] for item in page["Contents"]] == [name for name in flat if "/" not in name[2:]]
    assert keys(Prefix="l/", StartAfter="l/foo.txt") == flat[flat.index("l/foo.txt") + 1:]
    versions = s3.list_object_versions(Bucket=BUCKET, Prefix="l/")["Versions"]
    assert [(item["Key"], item["VersionId"]) for item in versions] == [(name, "null") for name in flat]


def deletes_leave_no_residue():
    for name in ["d/e/f/1", "d/e/f/2", "d/g"]:
        s3.put_object(Bucket=BUCKET, Key=name, Body=b"1")
    s3.delete_object(Bucket=BUCKET, Key="d/g")
    s3.delete_object(Bucket=BUCKET, Key="d/never")
    done = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [
        {"Key": "d/e/f/1"}, {"Key": "d/e/f/2", "VersionId": "null"}, {"Key": "d/none"}]})
    assert len(done["Deleted"]) == 3 and not done.get("Errors")
    assert keys(Prefix="d/") == []
    s3.put_object(Bucket=BUCKET, Key="d", Body=b"the name is free again")
    s3.delete_object(Bucket=BUCKET, Key="d")


def keys_follow_their_rules():
    s3.put_object(Bucket=BUCKET, Key="r/x", Body=b"1")
    refused(409, "ExistingObjectIsDirectory", s3.put_object, Bucket=BUCKET, Key="r", Body=b"1")
    refused(409, "ObjectParentIsFile", s3.put_object, Bucket=BUCKET, Key="r/x/y", Body=b"1")
    refused(400, "InvalidArgument", s3.put_object, Bucket=BUCKET, Key="r//y", Body=b"1")
    refused(400, "InvalidArgument", s3.put_object, Bucket=BUCKET, Key="r/dir/", Body=b"1")
    refused(400, "KeyTooLongError", s3.put_object, Bucket=BUCKET, Key="k" * 1025, Body=b"1")
    s3.put_object(Bucket=BUCKET, Key="r/dir/", Body=b"")
    s3.head_object(Bucket=BUCKET, Key="r/dir/")
    refused(404, "404", s3.head_object, Bucket=BUCKET, Key="r/dir")


def checksums_are_verified():
    body = b"123456789" * 1000
    for algorithm in ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]:
        try:
            put = s3.put_object(Bucket=BUCKET, Key="summed", Body=body, ChecksumAlgorithm=algorithm)
        except botocore.exceptions.MissingDependencyException:
            continue
        head = s3.head_object(Bucket=BUCKET, Key="summed", ChecksumMode="ENABLED")
        assert head[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]
    wrong = base64.b64encode(b"\0" * 4).decode()
    refused(400, "BadDigest", s3.put_object, Bucket=BUCKET, Key="wrong", Body=body, ChecksumCRC32=wrong)
    refused(400, "BadDigest", s3.put_object, Bucket=BUCKET, Key="wrong", Body=body,
            ContentMD5=base64.b64encode(b"\0" * 16).decode())
    refused(404, "404", s3.head_object, Bucket=BUCKET, Key="wrong")


def a_wrong_secret_opens_nothing():
    wrong = client(aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"], aws_secret_access_key="wrong")
    refused(403, "SignatureDoesNotMatch", wrong.get_object, Bucket=BUCKET, Key="ranged")
    refused(403, "SignatureDoesNotMatch", wrong.put_object, Bucket=BUCKET, Key="stolen", Body=b"1")
    refused(403, "InvalidAccessKeyId", client(aws_access_key_id="NOSUCHKEY", aws_secret_access_key="x").list_buckets)
    unsigned = client(config={"signature_version": botocore.UNSIGNED})
    refused(403, "AccessDenied", unsigned.get_object, Bucket=BUCKET, Key="ranged")
    # Of its own accord boto3 presigns in the old way, which has no bound on how long a link lives.
    s3v4 = client(config={"signature_version": "s3v4"})
    wrong = client(aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"], aws_secret_access_key="wrong",
                   config={"signature_version": "s3v4"})
    for signer, expected in [(s3v4, 200), (wrong, 403), (s3, 403)]:
        url = signer.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "guarded"}, ExpiresIn=60)
        try:
            status = urllib.request.urlopen(url).status
        except urllib.error.HTTPError as error:
            status = error.code
        assert status == expected, (status, expected)
    url = s3v4.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "presigned"}, ExpiresIn=60)
    urllib.request.urlopen(urllib.request.Request(url, data=b"signed", method="PUT"))
    assert s3.get_object(Bucket=BUCKET, Key="presigned")["Body"].read() == b"signed"


def policies_decide_before_mode_bits():
    anonymous = client(config={"signature_version": botocore.UNSIGNED})
    other = client(aws_access_key_id=os.environ["OTHER_ACCESS_KEY_ID"],
                   aws_secret_access_key=os.environ["OTHER_SECRET_ACCESS_KEY"])
    arn = f"arn:aws:s3:::{BUCKET}"
    key, body = "policed/open", b"for everybody"
    s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    s3.put_object(Bucket=BUCKET, Key="policed/closed", Body=b"for few")

    def put(*statements):
        s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))

    def allow(principal, action, resource, **more):
        return {"Effect": "Allow", "Principal": principal, "Action": action, "Resource": resource, **more}

    refused(404, "NoSuchBucketPolicy", s3.get_bucket_policy, Bucket=BUCKET)
    for outsider in [anonymous, other]:
        refused(403, "AccessDenied", outsider.get_object, Bucket=BUCKET, Key=key)
        refused(403, "AccessDenied", outsider.list_objects_v2, Bucket=BUCKET)
        refused(403, "AccessDenied", outsider.put_bucket_policy, Bucket=BUCKET, Policy="{}")
    refused(404, "NoSuchBucket", anonymous.get_object, Bucket="no-such-bucket-here", Key=key)

    put(allow("*", "s3:GetObject", f"{arn}/policed/open*"))
    assert json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"][0]["Action"] == "s3:GetObject"
    assert s3.get_bucket_policy_status(Bucket=BUCKET)["PolicyStatus"]["IsPublic"]
    for outsider in [anonymous, other]:
        assert outsider.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body
        refused(403, "AccessDenied", outsider.get_object, Bucket=BUCKET, Key="policed/closed")
        refused(403, "AccessDenied", outsider.get_object, Bucket=BUCKET, Key="policed/open-and-missing")
        refused(403, "AccessDenied", outsider.put_object, Bucket=BUCKET, Key=key, Body=b"x")
        refused(403, "AccessDenied", outsider.delete_object, Bucket=BUCKET, Key=key)
        errors = outsider.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key}]})["Errors"]
        assert [error["Code"] for error in errors] == ["AccessDenied"], errors

    # What the other puts by the policy is the owner's.
    number = s3.list_buckets()["Owner"]["ID"]
    put(allow({"AWS": "arn:aws:iam:::user/4242"}, ["s3:PutObject", "s3:ListBucket"], [arn, f"{arn}/policed/*"]),
        allow("*", "s3:ListBucket", arn, Condition={"StringEquals": {"s3:prefix": "policed/"}}))
    assert s3.get_bucket_policy_status(Bucket=BUCKET)["PolicyStatus"]["IsPublic"]
    other.put_object(Bucket=BUCKET, Key="policed/by-another", Body=b"1")
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="policed/by", FetchOwner=True)["Contents"]
    assert listed[0]["Owner"]["ID"] == number, listed
    refused(403, "AccessDenied", other.get_object, Bucket=BUCKET, Key="policed/by-another")
    refused(403, "AccessDenied", other.put_object, Bucket=BUCKET, Key="elsewhere", Body=b"1")
    refused(403, "AccessDenied", other.put_object, Bucket=BUCKET, Key="policed/tagged", Body=b"1", Tagging="a=b")
    assert anonymous.list_objects_v2(Bucket=BUCKET, Prefix="policed/")["KeyCount"] == 3
    refused(403, "AccessDenied", anonymous.list_objects_v2, Bucket=BUCKET)

    # A Deny binds the owner too, but for the policy itself.
    put(allow("*", "s3:*", [arn, f"{arn}/*"]),
        {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": [arn, f"{arn}/policed/*"]})
    refused(403, "AccessDenied", s3.get_object, Bucket=BUCKET, Key=key)
    refused(403, "AccessDenied", s3.list_objects_v2, Bucket=BUCKET)
    refused(403, "AccessDenied", other.get_bucket_policy, Bucket=BUCKET)
    s3.get_bucket_policy(Bucket=BUCKET)

    # A public policy gives nothing while the bucket restricts it, and no other can be put while it is blocked.
    put(allow("*", "s3:GetObject", f"{arn}/*"))
    refused(404, "NoSuchPublicAccessBlockConfiguration", s3.get_public_access_block, Bucket=BUCKET)
    block = {"BlockPublicAcls": False, "IgnorePublicAcls": False, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}
    s3.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=block)
    assert s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"] == block
    refused(403, "AccessDenied", anonymous.get_object, Bucket=BUCKET, Key=key)
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body
    refused(403, "AccessDenied", put, allow("*", "s3:GetObject", f"{arn}/*"))
    put(allow({"AWS": "4242"}, "s3:GetObject", f"{arn}/*"))
    assert other.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body
    s3.delete_public_access_block(Bucket=BUCKET)

    refused(400, "MalformedPolicy", put, allow("*", "s3:GetObject", "arn:aws:s3:::another-bucket/*"))
    refused(400, "MalformedPolicy", put,
            allow("*", "s3:GetObject", f"{arn}/*", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}}))
    refused(403, "403", s3.head_bucket, Bucket=BUCKET, ExpectedBucketOwner="123456789012")
    s3.delete_bucket_policy(Bucket=BUCKET)
    refused(403, "AccessDenied", other.get_object, Bucket=BUCKET, Key=key)
    for name in ["open", "closed", "by-another"]:
        s3.delete_object(Bucket=BUCKET, Key=f"policed/{name}")


def pages_of_other_origins_are_let_in_by_rules():
    key, origin = "paged", "https://app.example.com"
    s3.put_object(Bucket=BUCKET, Key=key, Body=b"1")
    s3v4 = client(config={"signature_version": "s3v4"})
    url = s3v4.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=60)

    def ask(method, headers):
        request = urllib.request.Request(f"{ENDPOINT}/{BUCKET}/{key}" if method == "OPTIONS" else url,
                                         method=method, headers=headers)
        try:
            answer = urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            answer = error
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}

    wanted = {"Origin": origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-amz-date"}
    refused(404, "NoSuchCORSConfiguration", s3.get_bucket_cors, Bucket=BUCKET)
    assert ask("OPTIONS", wanted)[0] == 403
    rules = [{"AllowedOrigins": ["https://*.example.com"], "AllowedMethods": ["GET"], "AllowedHeaders": ["x-amz-*"],
              "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60, "ID": "one"}]
    s3.put_bucket_cors(Bucket=BUCKET, CORSConfiguration={"CORSRules": rules})
    assert s3.get_bucket_cors(Bucket=BUCKET)["CORSRules"] == rules
    status, headers = ask("OPTIONS", wanted)
    assert (status, headers["access-control-allow-origin"], headers["access-control-max-age"]) == (200, origin, "60"), headers
    assert headers["access-control-allow-headers"] == "x-amz-date"
    assert ask("OPTIONS", {**wanted, "Access-Control-Request-Method": "PUT"})[0] == 403
    assert ask("OPTIONS", {**wanted, "Origin": "https://example.org"})[0] == 403
    assert ask("OPTIONS", {})[0] == 400
    status, headers = ask("GET", {"Origin": origin})
    assert (status, headers["access-control-allow-origin"], headers["access-control-expose-headers"]) == (200, origin, "ETag")
    status, headers = ask("GET", {"Origin": "https://example.org"})
    assert status == 200 and "access-control-allow-origin" not in headers
    refused(400, "InvalidRequest", s3.put_bucket_cors, Bucket=BUCKET,
            CORSConfiguration={"CORSRules": [{"AllowedOrigins": ["*.*"], "AllowedMethods": ["GET"]}]})
    s3.delete_bucket_cors(Bucket=BUCKET)
    assert "access-control-allow-origin" not in ask("GET", {"Origin": origin})[1]
    s3.delete_object(Bucket=BUCKET, Key=key)


def what_is_not_there_says_so():
    refused(501, "NotImplemented", s3.put_object, Bucket=BUCKET, Key="k", Body=b"1", ServerSideEncryption="AES256")
    refused(501, "NotImplemented", s3.put_bucket_versioning, Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    refused(501, "NotImplemented", s3.put_object, Bucket=BUCKET, Key="k", Body=b"1", IfNoneMatch='"an-etag"')


def a_bucket_goes_when_it_is_empty():
    refused(409, "BucketNotEmpty", s3.delete_bucket, Bucket=BUCKET)
    found = keys()
    for at in range(0, len(found), 1000):
        s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in found[at:at + 1000]], "Quiet": True})
    s3.delete_bucket(Bucket=BUCKET)
    refused(404, "404", s3.head_bucket, Bucket=BUCKET)


CLAIMS = [buckets_are_made_and_found, objects_come_back_as_they_were_put, ranges_are_exact, conditions_are_kept,
          listings_are_in_the_order_of_keys, deletes_leave_no_residue, keys_follow_their_rules, checksums_are_verified,
          a_wrong_secret_opens_nothing, policies_decide_before_mode_bits,
          pages_of_other_origins_are_let_in_by_rules, what_is_not_there_says_so, a_bucket_goes_when_it_is_empty]

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
