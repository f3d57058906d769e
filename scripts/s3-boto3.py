#!/usr/bin/env python3
"""Claims about the S3 gateway, held against it by Amazon's own client. Reads AWS_* from the environment."""

import base64
import concurrent.futures
import filecmp
import hashlib
import http.client
import json
import os
import random
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zlib

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


def md5(body):
    return hashlib.md5(body).hexdigest()


def md5s(*bodies):
    return f'"{md5(b"".join(hashlib.md5(body).digest() for body in bodies))}-{len(bodies)}"'


def begin(key, **kwargs):
    return s3.create_multipart_upload(Bucket=BUCKET, Key=key, **kwargs)["UploadId"]


def put_part(key, upload, number, body, **kwargs):
    done = s3.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=number, Body=body, **kwargs)
    return {"PartNumber": number, "ETag": done["ETag"]}


def finish(key, upload, parts, **kwargs):
    return s3.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **kwargs)


def large_files_go_in_parts_by_default():
    with tempfile.TemporaryDirectory() as place:
        sent, back = os.path.join(place, "sent"), os.path.join(place, "back")
        with open(sent, "wb") as file:
            file.write(random.Random(64).randbytes(64 << 20))
        s3.upload_file(sent, BUCKET, "large/file", ExtraArgs={"ContentType": "text/x-large", "Metadata": {"a": "b"}})
        s3.download_file(BUCKET, "large/file", back)
        assert filecmp.cmp(sent, back, shallow=False)
    head = s3.head_object(Bucket=BUCKET, Key="large/file")
    assert head["ETag"].endswith('-8"') and head["ContentLength"] == 64 << 20, head
    assert (head["ContentType"], head["Metadata"]) == ("text/x-large", {"a": "b"})
    s3.copy({"Bucket": BUCKET, "Key": "large/file"}, BUCKET, "large/copy")
    first, second = (s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in ["large/file", "large/copy"])
    assert first == second


def an_object_is_put_together_of_its_parts():
    one, two, three = (random.Random(at).randbytes(size) for at, size in enumerate([5 << 20, 5 << 20, 12345]))
    upload = begin("parts/whole", ContentType="text/x-parts", Metadata={"colour": "blue"}, Tagging="a=b")
    last = put_part("parts/whole", upload, 30, three)
    put_part("parts/whole", upload, 2, b"not this one")
    first = put_part("parts/whole", upload, 1, one)
    put_part("parts/whole", upload, 7, b"not used")
    second = put_part("parts/whole", upload, 2, two)
    listed = s3.list_parts(Bucket=BUCKET, Key="parts/whole", UploadId=upload)
    assert [(part["PartNumber"], part["Size"], part["ETag"]) for part in listed["Parts"]] == [
        (1, 5 << 20, f'"{md5(one)}"'), (2, 5 << 20, f'"{md5(two)}"'), (7, 8, f'"{md5(b"not used")}"'), (30, 12345, f'"{md5(three)}"')]
    assert not listed["IsTruncated"] and listed["StorageClass"] == "STANDARD"
    page = s3.list_parts(Bucket=BUCKET, Key="parts/whole", UploadId=upload, MaxParts=2, PartNumberMarker=1)
    assert [part["PartNumber"] for part in page["Parts"]] == [2, 7] and page["IsTruncated"]
    assert page["NextPartNumberMarker"] == 7
    refused(404, "404", s3.head_object, Bucket=BUCKET, Key="parts/whole")
    refused(400, "InvalidPartOrder", finish, "parts/whole", upload, [second, first])
    refused(400, "InvalidPart", finish, "parts/whole", upload, [first, {"PartNumber": 3, "ETag": second["ETag"]}])
    refused(400, "InvalidPart", finish, "parts/whole", upload, [first, {"PartNumber": 2, "ETag": first["ETag"]}])
    put_part("parts/whole", upload, 31, three)
    refused(400, "EntityTooSmall", finish, "parts/whole", upload, [first, last, {"PartNumber": 31, "ETag": last["ETag"]}])
    refused(400, "MalformedXML", finish, "parts/whole", upload, [])
    guarded = begin("guarded")
    refused(412, "PreconditionFailed", finish, "guarded", guarded, [put_part("guarded", guarded, 1, b"1")], IfNoneMatch="*")
    s3.abort_multipart_upload(Bucket=BUCKET, Key="guarded", UploadId=guarded)
    done = finish("parts/whole", upload, [first, second, last])
    assert done["ETag"] == md5s(one, two, three), done
    assert finish("parts/whole", upload, [first, second, last])["ETag"] == done["ETag"], "asked again"
    refused(404, "NoSuchUpload", finish, "parts/whole", upload, [first, second])
    refused(404, "NoSuchUpload", s3.list_parts, Bucket=BUCKET, Key="parts/whole", UploadId=upload)
    got = s3.get_object(Bucket=BUCKET, Key="parts/whole")
    assert got["Body"].read() == one + two + three
    assert (got["ContentType"], got["Metadata"], got["TagCount"]) == ("text/x-parts", {"colour": "blue"}, 1)
    for number, body in [(1, one), (2, two), (3, three)]:
        part = s3.get_object(Bucket=BUCKET, Key="parts/whole", PartNumber=number)
        assert part["Body"].read() == body and part["PartsCount"] == 3, number
        assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert s3.head_object(Bucket=BUCKET, Key="parts/whole", PartNumber=2)["ContentLength"] == 5 << 20
    refused(416, "416", s3.head_object, Bucket=BUCKET, Key="parts/whole", PartNumber=4)
    spanning = s3.get_object(Bucket=BUCKET, Key="parts/whole", Range=f"bytes={(5 << 20) - 10}-{(10 << 20) + 9}")
    assert spanning["Body"].read() == (one + two + three)[(5 << 20) - 10:(10 << 20) + 10]


def parts_and_uploads_that_make_no_sense_are_refused():
    upload = begin("parts/odd")
    for number in [0, 10001]:
        refused(400, "InvalidArgument", put_part, "parts/odd", upload, number, b"1")
    refused(404, "NoSuchUpload", put_part, "parts/odd", "made-up", 1, b"1")
    refused(404, "NoSuchUpload", put_part, "parts/other", upload, 1, b"1")
    refused(400, "BadDigest", put_part, "parts/odd", upload, 1, b"1", ContentMD5=base64.b64encode(b"\0" * 16).decode())
    refused(404, "NoSuchBucket", s3.create_multipart_upload, Bucket="no-such-bucket-here", Key="k")
    refused(501, "NotImplemented", s3.create_multipart_upload, Bucket=BUCKET, Key="k", ServerSideEncryption="AES256")
    refused(400, "InvalidStorageClass", s3.create_multipart_upload, Bucket=BUCKET, Key="k", StorageClass="GLACIER")
    s3.abort_multipart_upload(Bucket=BUCKET, Key="parts/odd", UploadId=upload)
    refused(404, "NoSuchUpload", s3.abort_multipart_upload, Bucket=BUCKET, Key="parts/odd", UploadId=upload)
    refused(404, "NoSuchUpload", put_part, "parts/odd", upload, 1, b"1")


def uploads_are_listed_in_order():
    names = ["u/a", "u/a", "u/b/1", "u/b/2", "u/c", "v"]
    begun = [(name, begin(name)) for name in names]
    listed = s3.list_multipart_uploads(Bucket=BUCKET, Prefix="u/")
    assert [(item["Key"], item["UploadId"]) for item in listed["Uploads"]] == begun[:-1], listed
    assert listed["Uploads"][0]["Initiator"]["ID"] == listed["Uploads"][0]["Owner"]["ID"]
    rolled = s3.list_multipart_uploads(Bucket=BUCKET, Prefix="u/", Delimiter="/")
    assert [prefix["Prefix"] for prefix in rolled["CommonPrefixes"]] == ["u/b/"]
    assert [item["Key"] for item in rolled["Uploads"]] == ["u/a", "u/a", "u/c"]
    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 1})
    assert [item["UploadId"] for page in pages for item in page.get("Uploads", [])] == [upload for _, upload in begun]
    for name, upload in begun:
        s3.abort_multipart_upload(Bucket=BUCKET, Key=name, UploadId=upload)
    assert not s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads")


def checksums_of_parts_make_that_of_the_object():
    bodies = [random.Random(at).randbytes(size) for at, size in enumerate([5 << 20, 777])]
    for algorithm, kind in [("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("SHA256", "COMPOSITE"), ("SHA1", "COMPOSITE")]:
        key = f"sums/{algorithm}-{kind}"
        upload = begin(key, ChecksumAlgorithm=algorithm, ChecksumType=kind)
        parts = []
        for number, body in enumerate(bodies, 1):
            done = s3.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
            field = f"Checksum{algorithm}"
            parts.append({"PartNumber": number, "ETag": done["ETag"], field: done[field]})
        wrong = [parts[0] | {field: parts[1][field]}, parts[1]]
        refused(400, "InvalidPart", finish, key, upload, wrong)
        value = finish(key, upload, parts)[field]
        head = s3.head_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")
        assert (head[field], head["ChecksumType"]) == (value, kind), head
        if kind == "FULL_OBJECT":
            assert base64.b64decode(value) == zlib.crc32(b"".join(bodies)).to_bytes(4, "big")
        else:
            raw = b"".join(base64.b64decode(part[field]) for part in parts)
            sums = {"CRC32": lambda raw: zlib.crc32(raw).to_bytes(4, "big"), "SHA1": lambda raw: hashlib.sha1(raw).digest(),
                    "SHA256": lambda raw: hashlib.sha256(raw).digest()}
            assert value == base64.b64encode(sums[algorithm](raw)).decode() + "-2", value
        told = s3.get_object_attributes(Bucket=BUCKET, Key=key, ObjectAttributes=["ETag", "Checksum", "ObjectParts", "ObjectSize"])
        assert told["ObjectSize"] == (5 << 20) + 777 and told["Checksum"][field] == value
        assert told["ObjectParts"]["TotalPartsCount"] == 2
        if kind == "COMPOSITE":
            assert [part[field] for part in told["ObjectParts"]["Parts"]] == [part[field] for part in parts]
    upload = begin("sums/mixed", ChecksumAlgorithm="SHA256")
    refused(400, "InvalidRequest", s3.upload_part, Bucket=BUCKET, Key="sums/mixed", UploadId=upload, PartNumber=1, Body=b"1",
            ChecksumAlgorithm="CRC32")
    s3.abort_multipart_upload(Bucket=BUCKET, Key="sums/mixed", UploadId=upload)
    refused(400, "InvalidRequest", s3.create_multipart_upload, Bucket=BUCKET, Key="k", ChecksumAlgorithm="SHA1",
            ChecksumType="FULL_OBJECT")


def copies_are_as_their_source():
    other = f"{BUCKET}-other"
    s3.create_bucket(Bucket=other)
    for size in [0, 5, 16 << 10, 3 << 20]:
        body = random.Random(size).randbytes(size)
        put = s3.put_object(Bucket=BUCKET, Key=f"copy/{size} +x", Body=body, ContentType="text/x-copy", Metadata={"a": "b"}, Tagging="t=1")
        source = {"Bucket": BUCKET, "Key": f"copy/{size} +x"}
        done = s3.copy_object(Bucket=other, Key="deep/copy", CopySource=source)
        assert done["CopyObjectResult"]["ETag"] == put["ETag"]
        got = s3.get_object(Bucket=other, Key="deep/copy")
        assert got["Body"].read() == body
        assert (got["ContentType"], got["Metadata"], got["TagCount"]) == ("text/x-copy", {"a": "b"}, 1)
        s3.copy_object(Bucket=other, Key="deep/copy", CopySource=source, MetadataDirective="REPLACE", Metadata={"c": "d"},
                       TaggingDirective="REPLACE", Tagging="u=2&v=3")
        got = s3.get_object(Bucket=other, Key="deep/copy")
        assert (got["Body"].read(), got["Metadata"], got["TagCount"]) == (body, {"c": "d"}, 2)
        assert got["ContentType"] == "binary/octet-stream"
    here = dict(Bucket=BUCKET, Key="copy/5 +x")
    refused(400, "InvalidRequest", s3.copy_object, CopySource=here, **here)
    s3.copy_object(CopySource=here, MetadataDirective="REPLACE", Metadata={"e": "f"}, **here)
    assert s3.head_object(**here)["Metadata"] == {"e": "f"}
    etag = s3.head_object(**here)["ETag"]
    to = dict(Bucket=other, Key="to", CopySource=here)
    refused(412, "PreconditionFailed", s3.copy_object, CopySourceIfMatch='"other"', **to)
    refused(412, "PreconditionFailed", s3.copy_object, CopySourceIfNoneMatch=etag, **to)
    s3.copy_object(CopySourceIfMatch=etag, **to)
    refused(412, "PreconditionFailed", s3.copy_object, IfNoneMatch="*", **to)
    refused(404, "NoSuchKey", s3.copy_object, Bucket=other, Key="to", CopySource={"Bucket": BUCKET, "Key": "copy/none"})
    refused(404, "NoSuchBucket", s3.copy_object, Bucket=other, Key="to", CopySource={"Bucket": "no-such-bucket-here", "Key": "k"})
    refused(404, "NoSuchBucket", s3.copy_object, Bucket="no-such-bucket-here", Key="to", CopySource=here)
    body = random.Random(1).randbytes(6 << 20)
    s3.put_object(Bucket=BUCKET, Key="copy/range", Body=body)
    # Of its own accord boto3 asks for a checksum, for which the bytes have to be read.
    plain = client(config={"request_checksum_calculation": "when_required"})
    for by, algorithm in [(plain, {}), (s3, {"ChecksumAlgorithm": "CRC32"})]:
        upload = by.create_multipart_upload(Bucket=other, Key="ranges", **algorithm)["UploadId"]
        parts = []
        for number, source, span in [(1, "copy/range", {"CopySourceRange": "bytes=1-5242880"}), (3, "copy/5 +x", {})]:
            done = s3.upload_part_copy(Bucket=other, Key="ranges", UploadId=upload, PartNumber=number,
                                       CopySource={"Bucket": BUCKET, "Key": source}, **span)
            parts.append({"PartNumber": number, "ETag": done["CopyPartResult"]["ETag"]})
        for asked, error in [("bytes=0-6291456", (416, "InvalidRange")), ("bytes=5-", (400, "InvalidArgument")), ("0-5", (400, "InvalidArgument"))]:
            refused(*error, s3.upload_part_copy, Bucket=other, Key="ranges", UploadId=upload, PartNumber=9,
                    CopySource={"Bucket": BUCKET, "Key": "copy/range"}, CopySourceRange=asked)
        s3.complete_multipart_upload(Bucket=other, Key="ranges", UploadId=upload, MultipartUpload={"Parts": parts})
        assert s3.get_object(Bucket=other, Key="ranges")["Body"].read() == body[1:5242881] + random.Random(5).randbytes(5)
        if algorithm:
            head = s3.head_object(Bucket=other, Key="ranges", ChecksumMode="ENABLED")
            assert head["ChecksumCRC32"].endswith("-2"), head
    begun = s3.create_multipart_upload(Bucket=other, Key="left")["UploadId"]
    for key in ["deep/copy", "to", "ranges"]:
        s3.delete_object(Bucket=other, Key=key)
    s3.delete_bucket(Bucket=other)
    refused(404, "NoSuchBucket", s3.list_parts, Bucket=other, Key="left", UploadId=begun)


def tags_are_kept_and_have_limits():
    s3.put_object(Bucket=BUCKET, Key="tagged", Body=b"1", Tagging="a=1&b%20c=x%2By")
    tags = s3.get_object_tagging(Bucket=BUCKET, Key="tagged")["TagSet"]
    assert tags == [{"Key": "a", "Value": "1"}, {"Key": "b c", "Value": "x+y"}], tags
    assert s3.head_object(Bucket=BUCKET, Key="tagged").get("TagCount", 2) == 2
    new = [{"Key": f"k{at}", "Value": "\u00e9 " + "v" * at} for at in range(10)]
    s3.put_object_tagging(Bucket=BUCKET, Key="tagged", Tagging={"TagSet": new})
    assert s3.get_object_tagging(Bucket=BUCKET, Key="tagged")["TagSet"] == new
    assert s3.get_object(Bucket=BUCKET, Key="tagged")["TagCount"] == 10
    for wrong in [new + [{"Key": "more", "Value": ""}], [{"Key": "k" * 129, "Value": ""}], [{"Key": "k", "Value": "v" * 257}],
                  [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}], [{"Key": "aws:k", "Value": ""}]]:
        refused(400, "InvalidTag", s3.put_object_tagging, Bucket=BUCKET, Key="tagged", Tagging={"TagSet": wrong})
    s3.delete_object_tagging(Bucket=BUCKET, Key="tagged")
    assert s3.get_object_tagging(Bucket=BUCKET, Key="tagged")["TagSet"] == []
    assert "TagCount" not in s3.get_object(Bucket=BUCKET, Key="tagged")
    refused(404, "NoSuchKey", s3.get_object_tagging, Bucket=BUCKET, Key="untagged")
    refused(404, "NoSuchKey", s3.put_object_tagging, Bucket=BUCKET, Key="untagged", Tagging={"TagSet": new})
    refused(404, "NoSuchTagSet", s3.get_bucket_tagging, Bucket=BUCKET)
    of_bucket = [{"Key": f"k{at}", "Value": str(at)} for at in range(50)]
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": of_bucket})
    assert s3.get_bucket_tagging(Bucket=BUCKET)["TagSet"] == of_bucket
    refused(400, "InvalidTag", s3.put_bucket_tagging, Bucket=BUCKET, Tagging={"TagSet": of_bucket + [{"Key": "x", "Value": ""}]})
    s3.delete_bucket_tagging(Bucket=BUCKET)
    refused(404, "NoSuchTagSet", s3.get_bucket_tagging, Bucket=BUCKET)


def lists_of_rights_say_what_holds():
    s3.put_object(Bucket=BUCKET, Key="listed", Body=b"1", ACL="private")
    for told in [s3.get_object_acl(Bucket=BUCKET, Key="listed"), s3.get_bucket_acl(Bucket=BUCKET)]:
        [grant] = told["Grants"]
        assert grant["Permission"] == "FULL_CONTROL" and grant["Grantee"]["ID"] == told["Owner"]["ID"], told
        assert grant["Grantee"]["Type"] == "CanonicalUser"
    s3.put_object_acl(Bucket=BUCKET, Key="listed", ACL="private")
    s3.put_bucket_acl(Bucket=BUCKET, ACL="private")
    refused(400, "AccessControlListNotSupported", s3.put_object_acl, Bucket=BUCKET, Key="listed", ACL="public-read")
    refused(400, "AccessControlListNotSupported", s3.put_bucket_acl, Bucket=BUCKET, ACL="public-read")
    refused(400, "AccessControlListNotSupported", s3.put_object, Bucket=BUCKET, Key="listed", Body=b"1", ACL="public-read")
    refused(404, "NoSuchKey", s3.get_object_acl, Bucket=BUCKET, Key="unlisted")
    told = s3.get_object_attributes(Bucket=BUCKET, Key="listed", ObjectAttributes=["ETag", "StorageClass", "ObjectSize"])
    assert (told["ETag"].strip('"'), told["StorageClass"], told["ObjectSize"]) == (md5(b"1"), "STANDARD", 1), told
    assert "Checksum" not in told and "ObjectParts" not in told
    got = s3.get_object(Bucket=BUCKET, Key="listed", ResponseContentType="text/asked", ResponseCacheControl="no-cache",
                        ResponseContentDisposition="inline", ResponseContentLanguage="mi", ResponseContentEncoding="x",
                        ResponseExpires="Thu, 01 Dec 1994 16:00:00 GMT")
    assert (got["ContentType"], got["CacheControl"], got["ContentDisposition"]) == ("text/asked", "no-cache", "inline")
    assert (got["ContentLanguage"], got["ContentEncoding"]) == ("mi", "x")
    assert got["ResponseMetadata"]["HTTPHeaders"]["expires"] == "Thu, 01 Dec 1994 16:00:00 GMT"


def raw(method, path, body=None, headers=(), query=""):
    """A signed request as no library would send it: the status, the headers, and the body of the answer."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    request = AWSRequest(method, f"{ENDPOINT}{path}{query}", data=body, headers=dict(headers))
    S3SigV4Auth(boto3.Session().get_credentials(), "s3", s3.meta.region_name).add_auth(request)
    url = urllib.parse.urlsplit(ENDPOINT)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    connection.putrequest(method, f"{path}{query}", skip_accept_encoding=True)
    for name, value in request.headers.items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode(errors="replace")


def what_is_wrong_is_told_as_amazon_tells_it():
    s3.put_object(Bucket=BUCKET, Key="wrong/a", Body=b"12345")
    refused(400, "InvalidArgument", s3.list_objects_v2, Bucket=BUCKET, MaxKeys=-1)
    refused(400, "InvalidArgument", s3.list_objects_v2, Bucket=BUCKET, ContinuationToken="!")
    for listed in [s3.list_objects_v2(Bucket=BUCKET, MaxKeys=0), s3.list_objects(Bucket=BUCKET, MaxKeys=0)]:
        assert not listed["IsTruncated"] and not listed.get("Contents") and listed["MaxKeys"] == 0
    status, headers, body = raw("GET", f"/{BUCKET}/wrong/a", headers={"Range": "bytes=5-"})
    assert (status, headers["content-range"]) == (416, "bytes */5") and "<Code>InvalidRange</Code>" in body
    etag = s3.head_object(Bucket=BUCKET, Key="wrong/a")["ETag"]
    status, headers, body = raw("GET", f"/{BUCKET}/wrong/a", headers={"If-None-Match": etag})
    assert (status, headers["etag"], body) == (304, etag, "") and "last-modified" in headers, headers
    status, _, body = raw("POST", f"/{BUCKET}", b"<Delete><Object>", query="?delete=")
    assert status == 400 and "<Code>MalformedXML</Code>" in body, (status, body)
    refused(400, "MalformedXML", s3.delete_objects, Bucket=BUCKET, Delete={"Objects": [{"Key": str(at)} for at in range(1001)]})
    quiet = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "wrong/none"}, {"Key": "wrong//b"}], "Quiet": True})
    assert not quiet.get("Deleted") and [error["Code"] for error in quiet["Errors"]] == ["InvalidArgument"], quiet
    for key in ["wrong/\u00fc \u4e2d+%20&=?#", "wrong/'\"<>", "wrong/\U0001f600"]:
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == key.encode()
        assert keys(Prefix=key) == [key]
        s3.copy_object(Bucket=BUCKET, Key=key, CopySource={"Bucket": BUCKET, "Key": key}, MetadataDirective="REPLACE")
    head = s3.head_object(Bucket=BUCKET, Key="wrong/a", VersionId="null")
    assert head["ContentLength"] == 5
    refused(400, "InvalidDigest", s3.put_object, Bucket=BUCKET, Key="wrong/b", Body=b"1", ContentMD5="rubbish")
    refused(400, "InvalidStorageClass", s3.put_object, Bucket=BUCKET, Key="wrong/b", Body=b"1", StorageClass="GLACIER")
    s3.put_object(Bucket=BUCKET, Key="wrong/b", Body=b"1", StorageClass="STANDARD")


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
          large_files_go_in_parts_by_default, an_object_is_put_together_of_its_parts,
          parts_and_uploads_that_make_no_sense_are_refused, uploads_are_listed_in_order,
          checksums_of_parts_make_that_of_the_object, copies_are_as_their_source, tags_are_kept_and_have_limits,
          lists_of_rights_say_what_holds, what_is_wrong_is_told_as_amazon_tells_it,
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
