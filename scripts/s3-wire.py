#!/usr/bin/env python3
"""Claims about the S3 gateway on the level of HTTP, with requests as no client library would send them: headers that lack or lie,
framings, forms, signatures. Reads AWS_* from the environment."""

import base64
import binascii
import datetime
import hashlib
import hmac
import http.client
import json
import os
import random
import re
import socket
import sys
import urllib.parse

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
HOST = ENDPOINT.removeprefix("http://")
KEY, SECRET = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
REGION = "us-east-1"
BUCKET = f"wire-{os.getpid()}-{random.randrange(10**6)}"
EMPTY = hashlib.sha256(b"").hexdigest()
s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}, signature_version="s3v4", retries={"total_max_attempts": 1}))
anonymous = boto3.client("s3", config=Config(signature_version=botocore.UNSIGNED, s3={"addressing_style": "path"}))


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Signer:
    """Signature version 4, step by step as Amazon describes it."""

    def __init__(self, secret=SECRET, key=KEY, at=None):
        self.key, self.at = key, at or datetime.datetime.now(datetime.timezone.utc)
        self.date, self.day = self.at.strftime("%Y%m%dT%H%M%SZ"), self.at.strftime("%Y%m%d")
        self.scope = f"{self.day}/{REGION}/s3/aws4_request"
        self.signing = mac(mac(mac(mac(b"AWS4" + secret.encode(), self.day), REGION), "s3"), "aws4_request")

    def sign(self, text):
        return hmac.new(self.signing, text.encode(), hashlib.sha256).hexdigest()

    def headers(self, method, target, headers, digest):
        """All headers of a request, signed; and the signature."""
        headers = {"host": HOST, "x-amz-date": self.date, "x-amz-content-sha256": digest} | {
            name.lower(): value for name, value in headers.items()}
        path, _, query = target.partition("?")
        pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
        query = "&".join(f"{urllib.parse.quote(name, safe='-_.~')}={urllib.parse.quote(value, safe='-_.~')}" for name, value in pairs)
        names = sorted(name for name in headers if name not in ("content-length", "transfer-encoding", "expect"))
        lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
        canonical = f"{method}\n{path}\n{query}\n{lines}\n{';'.join(names)}\n{digest}"
        text = f"AWS4-HMAC-SHA256\n{self.date}\n{self.scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = self.sign(text)
        headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.key}/{self.scope}, SignedHeaders={';'.join(names)}, "
                                    f"Signature={signature}")
        return headers, signature

    def chunks(self, pieces, seed, trailer=None):
        """A body of signed chunks, and its trailer with a signature of its own."""
        body, last = b"", seed
        for piece in [*pieces, b""]:
            text = f"AWS4-HMAC-SHA256-PAYLOAD\n{self.date}\n{self.scope}\n{last}\n{EMPTY}\n{hashlib.sha256(piece).hexdigest()}"
            last = self.sign(text)
            body += f"{len(piece):x};chunk-signature={last}\r\n".encode() + piece + (b"\r\n" if piece else b"")
        if trailer is None:
            return body + b"\r\n"
        digest = hashlib.sha256(trailer + b"\n").hexdigest()
        text = f"AWS4-HMAC-SHA256-TRAILER\n{self.date}\n{self.scope}\n{last}\n{digest}"
        return body + trailer + f"\r\nx-amz-trailer-signature:{self.sign(text)}\r\n\r\n".encode()


def send(method, target, headers, body=b"", chunked=False):
    """Status, headers and body of the answer to exactly these headers."""
    connection = http.client.HTTPConnection(HOST, timeout=60)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    if chunked:
        body = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    if body:
        connection.send(body)
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, told


def ask(method, target, body=b"", headers={}, signer=None, digest=None, length=True):
    digest = digest or hashlib.sha256(body).hexdigest()
    whole, _ = (signer or Signer()).headers(method, target, headers, digest)
    if length and (body or method in ("PUT", "POST")):
        whole["content-length"] = str(len(body))
    return send(method, target, whole, body)


def expect(answer, status, code=None):
    got = re.search(rb"<Code>(\w+)</Code>", answer[2])
    got = got[1].decode() if got else None
    assert (answer[0], got) == (status, code), f"expected {status} {code}, got {answer[0]} {got}: {answer[2][:300]}"
    return answer


def refused(status, code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except ClientError as error:
        got = (error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"])
        assert got == (status, code), f"expected {status} {code}, got {got}: {error}"
        return
    raise AssertionError(f"expected {status} {code}, and it was done")


def at(key):
    return f"/{BUCKET}/{key}"


def md5(body):
    return base64.b64encode(hashlib.md5(body).digest()).decode()


def absent(key):
    refused(404, "404", s3.head_object, Bucket=BUCKET, Key=key)


def a_body_says_its_length_and_is_what_was_meant():
    s3.create_bucket(Bucket=BUCKET)
    expect(ask("PUT", at("no-length"), digest="UNSIGNED-PAYLOAD", length=False), 411, "MissingContentLength")
    expect(ask("PUT", at("no-length"), length=False), 411, "MissingContentLength")
    headers, _ = Signer().headers("PUT", at("no-length"), {}, "UNSIGNED-PAYLOAD")
    expect(send("PUT", at("no-length"), headers | {"transfer-encoding": "chunked"}, b"x", chunked=True), 411, "MissingContentLength")
    expect(ask("PUT", at("empty"), b""), 200)
    for digest in ["", "AAAA", "rubbish!", md5(b"x")[:-4]]:
        expect(ask("PUT", at("md5"), b"x", {"content-md5": digest}), 400, "InvalidDigest")
    expect(ask("PUT", at("md5"), b"x", {"content-md5": md5(b"y")}), 400, "BadDigest")
    expect(ask("PUT", at("md5"), b"x", digest=hashlib.sha256(b"y").hexdigest()), 400, "XAmzContentSHA256Mismatch")
    expect(ask("PUT", at("md5"), b"x", {"x-amz-checksum-crc32": "AAAAAA=="}), 400, "BadDigest")
    expect(ask("PUT", at("md5"), b"x", {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-sha1": "AAAA"}), 400, "InvalidRequest")
    absent("md5")
    expect(ask("PUT", at("md5"), b"x", {"content-md5": md5(b"x")}), 200)


def documents_are_held_against_their_digests():
    for key in ["gone/a", "gone/b"]:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"1")
    document = b"<Delete><Object><Key>gone/a</Key></Object></Delete>"
    target = f"/{BUCKET}?delete="
    expect(ask("POST", target, document), 400, "InvalidRequest")
    expect(ask("POST", target, document, {"content-md5": md5(b"another")}), 400, "BadDigest")
    expect(ask("POST", target, document, {"content-md5": "short"}), 400, "InvalidDigest")
    expect(ask("POST", target, document, {"x-amz-checksum-crc32": "AAAAAA=="}), 400, "BadDigest")
    s3.head_object(Bucket=BUCKET, Key="gone/a")
    expect(ask("POST", target, document, {"content-md5": md5(document)}), 200)
    crc = base64.b64encode(binascii.crc32(document).to_bytes(4, "big")).decode()
    expect(ask("POST", target, document, {"x-amz-checksum-crc32": crc}), 200)
    absent("gone/a")
    tags = b"<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"
    expect(ask("PUT", at("gone/b?tagging="), tags, {"content-md5": md5(b"another")}), 400, "BadDigest")
    assert s3.get_object_tagging(Bucket=BUCKET, Key="gone/b")["TagSet"] == []
    for body, code in [(b"", "MissingRequestBodyError"), (b"<Tagging>", "MalformedXML"), (b"\xff\xfe", "MalformedXML"),
                       (b"<Other/>", "MalformedXML")]:
        expect(ask("PUT", at("gone/b?tagging="), body), 400, code)
    expect(ask("PUT", f"/{BUCKET}?policy=", b"{]"), 400, "MalformedPolicy")


def ranges_are_taken_as_http_has_them():
    body = b"0123456789"
    s3.put_object(Bucket=BUCKET, Key="ranged", Body=body)
    s3.put_object(Bucket=BUCKET, Key="empty", Body=b"")
    etag = s3.head_object(Bucket=BUCKET, Key="ranged")["ETag"]

    def get(range, key="ranged", method="GET", **headers):
        return ask(method, at(key), headers={"range": range, **{name.replace("_", "-"): value for name, value in headers.items()}})

    for range, part, told in [("bytes=0-0", b"0", "0-0"), ("bytes=-3", b"789", "7-9"), ("bytes=8-", b"89", "8-9"), ("bytes=3-99", b"3456789", "3-9")]:
        status, headers, got = get(range)
        assert (status, got, headers["content-range"]) == (206, part, f"bytes {told}/10"), (range, status, got)
    for odd in ["bytes=5-3", "bytes=0-1,3-4", "lines=1-2", "bytes=", "bytes=a-b", "nonsense"]:
        status, headers, got = get(odd)
        assert (status, got) == (200, body) and "content-range" not in headers, (odd, status, got)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "ranged"}, ExpiresIn=60)
    status, _, got = send("GET", url.removeprefix(ENDPOINT), {"host": HOST, "range": "bytes=1-2,4-5"})
    assert (status, got) == (200, body), (status, got)
    expect(send("GET", at("ranged"), {"host": HOST, "range": "bytes=1-2,4-5"}), 403, "AccessDenied")
    expect(ask("GET", at("ranged"), headers={"range": "x"}, signer=Signer(secret="wrong")), 403, "SignatureDoesNotMatch")
    for beyond, key in [("bytes=10-", "ranged"), ("bytes=10-12", "ranged"), ("bytes=-0", "ranged"), ("bytes=0-", "empty"), ("bytes=-5", "empty")]:
        _, headers, _ = expect(get(beyond, key), 416, "InvalidRange")
        assert headers["content-range"] == f"bytes */{10 if key == 'ranged' else 0}", headers
    status, headers, got = get("bytes=2-4", method="HEAD")
    assert (status, headers["content-length"], got) == (206, "3", b"")
    assert get("bytes=0-1", if_range=etag)[0] == 206 and get("bytes=0-1", if_range='"other"')[0] == 200
    assert ask("GET", at("ranged"), headers={"if-modified-since": "yesterday"})[0] == 200


def conditions_decide_in_their_order():
    put = s3.put_object(Bucket=BUCKET, Key="guarded", Body=b"1")
    etag, past, future = put["ETag"], "Mon, 01 Jan 2001 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
    for headers, status in [({"if-match": etag, "if-unmodified-since": past}, 200), ({"if-match": '"x"'}, 412), ({"if-match": "*"}, 200),
                            ({"if-unmodified-since": past}, 412), ({"if-unmodified-since": future}, 200),
                            ({"if-none-match": etag, "if-modified-since": past}, 304), ({"if-none-match": '"x"', "if-modified-since": future}, 200),
                            ({"if-modified-since": future}, 304), ({"if-none-match": "*"}, 304), ({"if-match": '"x"', "if-none-match": etag}, 412),
                            ({"if-match": etag.strip('"')}, 200), ({"if-match": etag, "range": "bytes=0-0"}, 206), ({"if-match": '"x"', "range": "bytes=7-"}, 412)]:
        for method in ["GET", "HEAD"]:
            answer = ask(method, at("guarded"), headers=headers)
            assert answer[0] == status, (headers, method, answer[0])
            assert method == "GET" or answer[2] == b"", "the answer to HEAD has no body"
    expect(ask("DELETE", at("none"), headers={"if-match": "*"}), 404, "NoSuchKey")
    expect(ask("DELETE", at("none"), headers={"if-match": etag}), 404, "NoSuchKey")
    expect(ask("DELETE", at("none")), 204)
    expect(ask("DELETE", at("guarded"), headers={"if-match": '"x"'}), 412, "PreconditionFailed")
    expect(ask("DELETE", at("guarded"), headers={"if-match": "*"}), 204)
    expect(ask("PUT", at("guarded"), b"2", {"if-match": etag}), 404, "NoSuchKey")


def a_request_that_is_not_rightly_signed_does_nothing():
    wrong = Signer(secret="not-the-secret")
    body = random.Random(1).randbytes(100_000)
    expect(ask("PUT", at("stolen"), body, signer=wrong), 403, "SignatureDoesNotMatch")
    expect(ask("PUT", at("stolen"), body, signer=wrong, digest="UNSIGNED-PAYLOAD"), 403, "SignatureDoesNotMatch")
    expect(ask("PUT", at("stolen"), body, signer=Signer(key="NOSUCHKEY")), 403, "InvalidAccessKeyId")
    for framing in ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"]:
        headers = {"x-amz-decoded-content-length": str(len(body)), "content-encoding": "aws-chunked", "x-amz-trailer": "x-amz-checksum-crc32"}
        expect(ask("PUT", at("stolen"), body, headers, wrong, framing), 403, "SignatureDoesNotMatch")
    for late in [-20, 20]:
        moved = Signer(at=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=late))
        expect(ask("GET", at("ranged"), signer=moved), 403, "RequestTimeTooSkewed")
    headers, _ = Signer().headers("PUT", at("stolen"), {}, "UNSIGNED-PAYLOAD")
    expect(send("PUT", at("stolen"), headers | {"content-length": "1", "x-amz-copy-source": at("ranged")}, b"x"), 403, "AccessDenied")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "ranged"}, ExpiresIn=60).removeprefix(ENDPOINT)
    for changed, code in [(url.replace("ranged", "empty"), "SignatureDoesNotMatch"), (re.sub(r"Expires=\d+", "Expires=600", url), "SignatureDoesNotMatch"),
                          (re.sub(r"Date=\w+", "Date=20200101T000000Z", url), "SignatureDoesNotMatch"),
                          (re.sub(r"Signature=(\w)", lambda digit: f"Signature={(int(digit[1], 16) + 1) % 16:x}", url), "SignatureDoesNotMatch")]:
        expect(send("GET", changed, {"host": HOST}), 403, code)
    for broken in [re.sub(r"Expires=\d+", "Expires=604801", url), re.sub(r"&X-Amz-Expires=\d+", "", url)]:
        expect(send("GET", broken, {"host": HOST}), 400, "AuthorizationQueryParametersError")
    expect(send("PUT", url, {"host": HOST, "content-length": "1"}, b"x"), 403, "SignatureDoesNotMatch")
    past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=120)
    signer = Signer(at=past)
    query = {"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{KEY}/{signer.scope}", "X-Amz-Date": signer.date,
             "X-Amz-Expires": "60", "X-Amz-SignedHeaders": "host"}
    encoded = urllib.parse.urlencode(sorted(query.items()), quote_via=urllib.parse.quote, safe="-_.~")
    canonical = f"GET\n{at('ranged')}\n{encoded}\nhost:{HOST}\n\nhost\nUNSIGNED-PAYLOAD"
    text = f"AWS4-HMAC-SHA256\n{signer.date}\n{signer.scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    expect(send("GET", f"{at('ranged')}?{encoded}&X-Amz-Signature={signer.sign(text)}", {"host": HOST}), 403, "AccessDenied")
    absent("stolen")
    good, _ = Signer().headers("GET", at("ranged"), {}, EMPTY)
    for value, status, code in [("Basic eDp5", 400, "InvalidArgument"), ("", 403, "AccessDenied"), ("AWS4-HMAC-SHA256 Credential=x", 400, "AuthorizationHeaderMalformed"),
                                ("AWS x:y", 403, "AccessDenied")]:
        expect(send("GET", at("ranged"), good | {"authorization": value}), status, code)
    for change, status, code in [({"x-amz-date": "today"}, 403, "AccessDenied"), ({"x-amz-content-sha256": "rubbish"}, 400, "InvalidArgument")]:
        expect(send("GET", at("ranged"), good | change), status, code)
    expect(send("GET", at("ranged"), {name: value for name, value in good.items() if name != "x-amz-date"}), 403, "AccessDenied")
    expect(send("GET", "/", {"host": HOST}), 403, "AccessDenied")
    expect(send("GET", at("ranged") + "?response-content-type=x", {"host": HOST}), 403, "AccessDenied")


def chunks_are_verified_one_by_one():
    pieces = [random.Random(2).randbytes(70_000), b"tail"]
    whole = b"".join(pieces)
    crc = base64.b64encode(binascii.crc32(whole).to_bytes(4, "big"))

    def put(framing, make, length=len(whole), **more):
        signer = Signer()
        headers = {"x-amz-decoded-content-length": str(length), "content-encoding": "aws-chunked", **more}
        headers, seed = signer.headers("PUT", at("chunked"), headers, framing)
        body = make(signer, seed)
        return send("PUT", at("chunked"), headers | {"content-length": str(len(body))}, body)

    signed, trailed, unsigned = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
    trailer = {"x-amz-trailer": "x-amz-checksum-crc32"}
    right = b"x-amz-checksum-crc32:" + crc
    expect(put(signed, lambda signer, seed: signer.chunks(pieces, seed)), 200)
    assert s3.get_object(Bucket=BUCKET, Key="chunked")["Body"].read() == whole
    assert "ContentEncoding" not in s3.head_object(Bucket=BUCKET, Key="chunked")
    s3.delete_object(Bucket=BUCKET, Key="chunked")
    expect(put(trailed, lambda signer, seed: signer.chunks(pieces, seed, right), **trailer), 200)
    s3.delete_object(Bucket=BUCKET, Key="chunked")
    plain = lambda end: lambda signer, seed: f"{len(whole):x}\r\n".encode() + whole + b"\r\n0\r\n" + end
    expect(put(unsigned, plain(right + b"\r\n\r\n"), **trailer), 200)
    s3.delete_object(Bucket=BUCKET, Key="chunked")
    forged = lambda signer, seed: signer.chunks(pieces, "0" * 64)
    expect(put(signed, forged), 403, "SignatureDoesNotMatch")
    expect(put(signed, lambda signer, seed: signer.chunks(pieces, seed).replace(b"tail", b"fail")), 403, "SignatureDoesNotMatch")
    expect(put(trailed, lambda signer, seed: signer.chunks(pieces, seed, b"x-amz-checksum-crc32:AAAAAA=="), **trailer), 400, "BadDigest")
    expect(put(trailed, lambda signer, seed: signer.chunks(pieces, seed, right).replace(crc, b"AAAAAA=="), **trailer), 403, "SignatureDoesNotMatch")
    expect(put(unsigned, plain(b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n"), **trailer), 400, "BadDigest")
    expect(put(unsigned, plain(b"\r\n"), **trailer), 400, "MalformedTrailerError")
    expect(put(unsigned, plain(b"x-amz-checksum-sha1:AAAA\r\n\r\n"), **trailer), 400, "MalformedTrailerError")
    expect(put(signed, lambda signer, seed: signer.chunks(pieces, seed), length=len(whole) + 1), 400, "IncompleteBody")
    expect(put(signed, lambda signer, seed: signer.chunks(pieces, seed), length=len(whole) - 1), 400, "IncompleteBody")
    for rubbish in [b"zz\r\nabc\r\n", b"5;chunk-signature=\r\nabc", b"\r\n\r\n", b"ffffffffffffffffff\r\n"]:
        expect(put(signed, lambda signer, seed: rubbish), 400, "IncompleteBody")
    signer = Signer()
    headers, seed = signer.headers("PUT", at("chunked"), {}, signed)
    body = signer.chunks(pieces, seed)
    expect(send("PUT", at("chunked"), headers | {"content-length": str(len(body))}, body), 411, "MissingContentLength")
    absent("chunked")


def an_error_says_where_it_comes_from():
    _, headers, told = expect(ask("GET", at("no/such&key")), 404, "NoSuchKey")
    assert headers["content-type"] == "application/xml" and headers["x-amz-request-id"], headers
    number = re.search(rb"<RequestId>(\w+)</RequestId>", told)[1].decode()
    assert number == headers["x-amz-request-id"] and b"<Resource>/" in told and b"no/such&amp;key</Resource>" in told, told
    status, headers, told = ask("HEAD", at("none"))
    assert (status, told) == (404, b"") and headers["x-amz-request-id"]
    for method in ["PATCH", "TRACE", "BREW"]:
        expect(send(method, at("ranged"), {"host": HOST}), 405, "MethodNotAllowed")
    expect(ask("GET", "/NoBucket/k"), 400, "InvalidBucketName")
    expect(ask("GET", f"/{BUCKET}?list-type=2&max-keys=many"), 400, "InvalidArgument")
    expect(ask("GET", f"/{BUCKET}?list-type=2&max-keys=-1"), 400, "InvalidArgument")
    expect(ask("GET", f"/{BUCKET}?list-type=2&max-keys=99999999999"), 400, "InvalidArgument")
    expect(ask("GET", f"/{BUCKET}?list-type=2&continuation-token="), 400, "InvalidArgument")
    expect(ask("GET", f"/{BUCKET}?list-type=2&encoding-type=rot13"), 400, "InvalidArgument")
    expect(ask("GET", f"/{BUCKET}?versions=&version-id-marker=null"), 400, "InvalidArgument")
    expect(ask("GET", at("ranged?versionId=made-up")), 404, "NoSuchVersion")
    expect(ask("PUT", at("copied"), headers={"x-amz-copy-source": "rubbish"}), 400, "InvalidArgument")


def a_refusal_is_heard_by_who_is_still_sending():
    body = bytes(9 << 20)
    expect(ask("PUT", at("refused"), body, signer=Signer(secret="wrong"), digest="UNSIGNED-PAYLOAD"), 403, "SignatureDoesNotMatch")
    expect(ask("PUT", at("ranged"), body, {"if-none-match": "*"}, digest="UNSIGNED-PAYLOAD"), 412, "PreconditionFailed")
    headers, _ = Signer(secret="wrong").headers("PUT", at("refused"), {}, "UNSIGNED-PAYLOAD")
    headers |= {"content-length": str(len(body)), "expect": "100-continue"}

    def waiting(headers):
        """What is answered to one who waits to be asked for the body."""
        host, port = HOST.split(":")
        connection = socket.create_connection((host, int(port)), timeout=60)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        connection.sendall(f"PUT {at('refused')} HTTP/1.1\r\n{lines}\r\n".encode())
        return connection, connection.recv(65536)

    connection, answer = waiting(headers)
    assert answer.startswith(b"HTTP/1.1 403"), answer
    connection.close()
    headers, _ = Signer().headers("PUT", at("refused"), {}, "UNSIGNED-PAYLOAD")
    connection, answer = waiting(headers | {"content-length": "5", "expect": "100-continue"})
    assert answer.startswith(b"HTTP/1.1 100"), answer
    connection.sendall(b"12345")
    assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    connection.close()
    assert s3.get_object(Bucket=BUCKET, Key="refused")["Body"].read() == b"12345"


def buckets_are_what_they_can_be():
    name = f"{BUCKET}-made"
    make = lambda **more: s3.create_bucket(Bucket=name, **more)
    refused(400, "InvalidLocationConstraint", make, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    refused(400, "AccessControlListNotSupported", make, ACL="public-read")
    refused(400, "AccessControlListNotSupported", make, GrantWriteACP="id=1")
    refused(501, "NotImplemented", make, ObjectOwnership="ObjectWriter")
    refused(400, "InvalidBucketAclWithObjectOwnership", make, ObjectOwnership="BucketOwnerEnforced", ACL="public-read")
    refused(501, "NotImplemented", make, ObjectLockEnabledForBucket=True)
    refused(404, "404", s3.head_bucket, Bucket=name)
    expect(ask("PUT", f"/{name}", b"<CreateBucketConfiguration>"), 400, "MalformedXML")
    make(ObjectOwnership="BucketOwnerEnforced", CreateBucketConfiguration={"Tags": [{"Key": "k", "Value": "v"}]})
    assert s3.get_bucket_tagging(Bucket=name)["TagSet"] == [{"Key": "k", "Value": "v"}]
    make()
    other = boto3.client("s3", aws_access_key_id=os.environ["OTHER_ACCESS_KEY_ID"], aws_secret_access_key=os.environ["OTHER_SECRET_ACCESS_KEY"],
                         config=Config(s3={"addressing_style": "path"}))
    refused(409, "BucketAlreadyExists", other.create_bucket, Bucket=name)
    refused(403, "AccessDenied", other.delete_bucket, Bucket=name)
    refused(403, "403", other.head_bucket, Bucket=name)
    listed = s3.list_buckets(Prefix=BUCKET, MaxBuckets=1)
    assert [bucket["Name"] for bucket in listed["Buckets"]] == [BUCKET] and listed["Prefix"] == BUCKET
    listed = s3.list_buckets(Prefix=BUCKET, ContinuationToken=listed["ContinuationToken"])
    assert [bucket["Name"] for bucket in listed["Buckets"]] == [name] and "ContinuationToken" not in listed
    assert s3.list_buckets(BucketRegion="eu-west-1")["Buckets"] == []
    s3.delete_bucket(Bucket=name)
    refused(404, "NoSuchBucket", s3.delete_bucket, Bucket=name)
    assert s3.get_bucket_ownership_controls(Bucket=BUCKET)["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    s3.put_bucket_ownership_controls(Bucket=BUCKET, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
    refused(501, "NotImplemented", s3.put_bucket_ownership_controls, Bucket=BUCKET, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    assert s3.get_bucket_request_payment(Bucket=BUCKET)["Payer"] == "BucketOwner"
    refused(501, "NotImplemented", s3.put_bucket_request_payment, Bucket=BUCKET, RequestPaymentConfiguration={"Payer": "Requester"})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=BUCKET)
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=BUCKET)
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=BUCKET)
    for call, code in [(s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration"), (s3.get_bucket_website, "NoSuchWebsiteConfiguration"),
                       (s3.get_bucket_replication, "ReplicationConfigurationNotFoundError"),
                       (s3.get_object_lock_configuration, "ObjectLockConfigurationNotFoundError")]:
        refused(404, code, call, Bucket=BUCKET)
        refused(404, "NoSuchBucket", call, Bucket="no-such-bucket-here")
    refused(404, "ServerSideEncryptionConfigurationNotFoundError", s3.get_bucket_encryption, Bucket=BUCKET)
    refused(404, "NoSuchBucket", s3.get_bucket_encryption, Bucket="no-such-bucket-here")


def form(fields, body, name="upload.txt"):
    boundary = "line-between"
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n' for field, value in fields.items()]
    parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/plain\r\n\r\n')
    whole = "".join(parts).encode() + body + f"\r\n--{boundary}--\r\n".encode()
    return send("POST", f"/{BUCKET}", {"host": HOST, "content-type": f"multipart/form-data; boundary={boundary}", "content-length": str(len(whole))}, whole)


def forms_put_what_their_policy_lets():
    def signed(key="form/${filename}", conditions=(), signer=None, lifetime=300, **fields):
        signer = signer or Signer()
        fields = {"key": key, "x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": f"{signer.key}/{signer.scope}", "x-amz-date": signer.date, **fields}
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=lifetime)
        asked = [{"bucket": BUCKET}, ["starts-with", "$key", "form/"], *conditions]
        asked += [{name: fields[name]} for name in fields if name.startswith("x-amz-") and name not in ("x-amz-signature",)]
        policy = base64.b64encode(json.dumps({"expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"), "conditions": asked}).encode()).decode()
        return {**fields, "policy": policy, "x-amz-signature": signer.sign(policy)}

    expect(form(signed(), b"by a form"), 204)
    got = s3.get_object(Bucket=BUCKET, Key="form/upload.txt")
    assert got["Body"].read() == b"by a form"
    status, _, told = form(signed(conditions=[{"success_action_status": "201"}], success_action_status="201"), b"again")
    assert status == 201 and b"<Key>form/upload.txt</Key>" in told and f"<Bucket>{BUCKET}</Bucket>".encode() in told, told
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    more = {"tagging": tags, "Content-Type": "text/x-form", "x-amz-meta-colour": "blue"}
    expect(form(signed(conditions=[{"tagging": tags}, {"Content-Type": "text/x-form"}], **more), b"tagged"), 204)
    head = s3.head_object(Bucket=BUCKET, Key="form/upload.txt")
    assert (head["ContentType"], head["Metadata"]) == ("text/x-form", {"colour": "blue"}), head
    assert s3.get_object_tagging(Bucket=BUCKET, Key="form/upload.txt")["TagSet"] == [{"Key": "a", "Value": "b"}]
    limit = [["content-length-range", 2, 5]]
    expect(form(signed(conditions=limit), b"123"), 204)
    expect(form(signed(conditions=limit), b"123456"), 400, "EntityTooLarge")
    expect(form(signed(conditions=limit), b"1"), 400, "EntityTooSmall")
    expect(form(signed(signer=Signer(secret="wrong")), b"x"), 403, "SignatureDoesNotMatch")
    expect(form(signed(lifetime=-5), b"x"), 403, "AccessDenied")
    expect(form(signed(key="elsewhere"), b"x"), 400, "InvalidPolicyDocument")
    expect(form({**signed(), "acl": "public-read"}, b"x"), 403, "AccessDenied")
    expect(form({"key": "form/anonymous"}, b"x"), 403, "AccessDenied")
    assert s3.get_object(Bucket=BUCKET, Key="form/upload.txt")["Body"].read() == b"123"
    for key in ["elsewhere", "form/anonymous"]:
        absent(key)


def an_object_gets_another_key_in_one_step():
    put = s3.put_object(Bucket=BUCKET, Key="old/place/object", Body=b"kept", Metadata={"a": "b"})
    s3.put_object(Bucket=BUCKET, Key="taken", Body=b"there")
    rename = lambda to, source, **headers: ask("PUT", at(f"{to}?renameObject="), headers={"x-amz-rename-source": source, **{n.replace("_", "-"): v for n, v in headers.items()}})
    expect(rename("new/place", "old/place/none"), 404, "NoSuchKey")
    expect(rename("taken", "old/place/object", if_none_match="*"), 412, "PreconditionFailed")
    expect(rename("new/place", "old/place/object", x_amz_rename_source_if_match='"other"'), 412, "PreconditionFailed")
    expect(rename("new/place", f"/{BUCKET}/old/place/object", if_none_match="*", x_amz_rename_source_if_match=put["ETag"]), 200)
    got = s3.get_object(Bucket=BUCKET, Key="new/place")
    assert (got["Body"].read(), got["ETag"], got["Metadata"]) == (b"kept", put["ETag"], {"a": "b"})
    absent("old/place/object")
    assert not s3.list_objects_v2(Bucket=BUCKET, Prefix="old/").get("Contents")
    expect(rename("taken", "new/place"), 200)
    assert s3.get_object(Bucket=BUCKET, Key="taken")["Body"].read() == b"kept"
    expect(ask("PUT", at("x?renameObject="), headers={"x-amz-rename-source": "taken"}, signer=Signer(secret="wrong")), 403, "SignatureDoesNotMatch")


def who_has_signed_nothing_gets_what_was_stored():
    policy = {"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}}
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))
    assert anonymous.get_object(Bucket=BUCKET, Key="ranged")["Body"].read() == b"0123456789"
    expect(send("GET", at("ranged?response-content-type=text/html"), {"host": HOST}), 400, "InvalidRequest")
    status, _, got = send("GET", at("ranged"), {"host": HOST, "range": "bytes=0-1,4-5"})
    assert (status, got) == (200, b"0123456789")
    expect(form({"key": "form/anonymous"}, b"x"), 403, "AccessDenied")
    policy["Statement"]["Action"] = "s3:PutObject"
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(policy))
    expect(form({"key": "form/anonymous"}, b"x"), 204)
    s3.delete_bucket_policy(Bucket=BUCKET)


def what_was_made_is_removed():
    found = [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in found]})
    s3.delete_bucket(Bucket=BUCKET)


CLAIMS = [a_body_says_its_length_and_is_what_was_meant, documents_are_held_against_their_digests, ranges_are_taken_as_http_has_them,
          conditions_decide_in_their_order, a_request_that_is_not_rightly_signed_does_nothing, chunks_are_verified_one_by_one,
          an_error_says_where_it_comes_from, a_refusal_is_heard_by_who_is_still_sending, buckets_are_what_they_can_be,
          forms_put_what_their_policy_lets, an_object_gets_another_key_in_one_step, who_has_signed_nothing_gets_what_was_stored,
          what_was_made_is_removed]

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
