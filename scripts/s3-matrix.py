#!/usr/bin/env python3
"""What people use with S3, each with real data against a gateway: put, get, list, in parts, delete, compared. Reads AWS_*
and MATRIX_BIN (other programs), MATRIX_NODE (an npm prefix) from the environment. A client that is not there is skipped,
with the reason."""

import concurrent.futures
import filecmp
import importlib
import io
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse

ENDPOINT, KEY, SECRET = (os.environ[name] for name in ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
SCHEME, HOST = urllib.parse.urlparse(ENDPOINT)[:2]
# The authority that a gateway with TLS has its certificate from.
CA = os.environ.get("MATRIX_CA") if SCHEME == "https" else None
BUCKET = f"matrix-{os.getpid()}-{random.randrange(10**6)}"
SMALL, LARGE = random.Random(1).randbytes(100_000), random.Random(2).randbytes(20_000_000)
BIN = os.environ.get("MATRIX_BIN", "")


class Skipped(Exception):
    pass


def module(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Skipped(f"{name} is not installed: {error}") from error


def program(name):
    found = shutil.which(name, path=f"{BIN}/usr/bin:{os.environ['PATH']}")
    if not found:
        raise Skipped(f"{name} is not installed")
    return found


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, timeout=120, **options)
    assert done.returncode == 0, f"{command}: {done.returncode}: {done.stderr.decode()[-2000:]}{done.stdout.decode()[-500:]}"
    return done.stdout


def tree(root):
    """A directory with some files, one of them large."""
    for name, content in [("a.txt", b"a"), ("deep/er/b", SMALL), ("deep/c d+e", b"c"), ("large", LARGE), ("empty", b"")]:
        path = pathlib.Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def same_trees(one, other):
    files = lambda root: sorted(str(path.relative_to(root)) for path in pathlib.Path(root).rglob("*") if path.is_file())
    assert files(one) == files(other), (files(one), files(other))
    for name in files(one):
        assert filecmp.cmp(pathlib.Path(one, name), pathlib.Path(other, name), shallow=False), name


def by_boto3(directory):
    boto3 = module("boto3")
    from boto3.s3.transfer import TransferConfig
    s3 = boto3.client("s3")
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    s3.upload_fileobj(io.BytesIO(LARGE), BUCKET, "boto3/large", Config=parts)
    head = s3.head_object(Bucket=BUCKET, Key="boto3/large")
    assert head["ETag"].strip('"').endswith("-4"), head["ETag"]
    s3.copy({"Bucket": BUCKET, "Key": "boto3/large"}, BUCKET, "boto3/copied", Config=parts)
    for name in ["large", "copied"]:
        back = io.BytesIO()
        s3.download_fileobj(BUCKET, f"boto3/{name}", back)
        assert back.getvalue() == LARGE, name
        s3.delete_object(Bucket=BUCKET, Key=f"boto3/{name}")


def by_minio(directory):
    minio = module("minio")
    client = minio.Minio(HOST, access_key=KEY, secret_key=SECRET, secure=ENDPOINT.startswith("https"))
    client.put_object(BUCKET, "minio/small", io.BytesIO(SMALL), len(SMALL))
    client.put_object(BUCKET, "minio/large", io.BytesIO(LARGE), -1, part_size=5 << 20)
    for name, content in [("small", SMALL), ("large", LARGE)]:
        response = client.get_object(BUCKET, f"minio/{name}")
        assert response.read() == content, name
        response.close()
    assert [item.object_name for item in client.list_objects(BUCKET, "minio/", recursive=True)] == ["minio/large", "minio/small"]
    assert client.stat_object(BUCKET, "minio/small").size == len(SMALL)
    errors = client.remove_objects(BUCKET, [minio.deleteobjects.DeleteObject(f"minio/{name}") for name in ["small", "large"]])
    assert list(errors) == []
    assert list(client.list_objects(BUCKET, "minio/")) == []


def by_s3cmd(directory):
    module("S3")
    base = [sys.executable, shutil.which("s3cmd", path=os.path.dirname(sys.executable)), "--host", HOST, "--host-bucket", HOST,
            "--access_key", KEY, "--secret_key", SECRET, *(["--ssl", "--ca-certs", CA] if CA else ["--no-ssl"]), "--config", "/dev/null", "--region", "us-east-1",
            "--multipart-chunk-size-mb", "5", "--no-progress"]
    source, back = tree(f"{directory}/tree"), f"{directory}/back"
    os.mkdir(back)
    run(*base, "sync", f"{source}/", f"s3://{BUCKET}/s3cmd/")
    listed = run(*base, "ls", "-r", f"s3://{BUCKET}/s3cmd/").decode()
    assert "s3cmd/deep/c d+e" in listed and len(listed.splitlines()) == 5, listed
    run(*base, "sync", f"s3://{BUCKET}/s3cmd/", f"{back}/")
    same_trees(source, back)
    run(*base, "del", "-r", "-f", f"s3://{BUCKET}/s3cmd/")
    assert run(*base, "ls", "-r", f"s3://{BUCKET}/s3cmd/") == b""


def by_rclone(directory):
    path = program("rclone")
    flags = ["--config", "/dev/null", "--s3-provider", "Other", "--s3-endpoint", ENDPOINT, "--s3-access-key-id", KEY,
             "--s3-secret-access-key", SECRET, "--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M", "--retries", "1",
             "--low-level-retries", "1", *(["--ca-cert", CA] if CA else [])]
    source, back = tree(f"{directory}/tree"), f"{directory}/back"
    # Where this is set, its SDK refuses to begin.
    environment = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}

    def rclone(*arguments):
        return run(path, *flags, *arguments, env=environment)

    rclone("sync", source, f":s3:{BUCKET}/rclone")
    rclone("check", "--download", source, f":s3:{BUCKET}/rclone")
    rclone("copy", f":s3:{BUCKET}/rclone", back)
    same_trees(source, back)
    rclone("purge", f":s3:{BUCKET}/rclone")
    assert rclone("lsf", "-R", f":s3:{BUCKET}", "--include", "/rclone/**") == b""


def by_restic(directory):
    restic = program("restic")
    source, back = tree(f"{directory}/tree"), f"{directory}/back"
    environment = {**os.environ, "RESTIC_PASSWORD": "x", "RESTIC_REPOSITORY": f"s3:{ENDPOINT}/{BUCKET}/restic",
                   "RESTIC_CACHE_DIR": f"{directory}/cache"}
    restic = [restic, *(["--cacert", CA] if CA else [])]
    run(*restic, "init", env=environment)
    run(*restic, "backup", ".", env=environment, cwd=source)
    pathlib.Path(source, "a.txt").write_bytes(b"changed")
    run(*restic, "backup", ".", env=environment, cwd=source)
    run(*restic, "check", "--read-data", env=environment)
    run(*restic, "restore", "latest", "--target", back, env=environment)
    same_trees(source, back)
    run(*restic, "forget", "--keep-last", "1", "--prune", env=environment)
    run(*restic, "check", env=environment)


def by_s3fs(directory):
    s3fs = program("s3fs")
    if not os.path.exists("/dev/fuse") or os.geteuid() != 0:
        raise Skipped("s3fs needs /dev/fuse, and the superuser")
    module("boto3").client("s3").put_object(Bucket=BUCKET, Key="s3fs/", Body=b"")
    password, mount = pathlib.Path(directory, "password"), pathlib.Path(directory, "mount")
    password.write_text(f"{KEY}:{SECRET}")
    password.chmod(0o600)
    mount.mkdir()
    libraries = f"{BIN}/usr/lib/x86_64-linux-gnu:{BIN}/lib/x86_64-linux-gnu"
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries, **({"CURL_CA_BUNDLE": CA} if CA else {})}
    server = subprocess.Popen([s3fs, f"{BUCKET}:/s3fs", mount, "-f", "-o", f"passwd_file={password}", "-o", f"url={ENDPOINT}",
                               "-o", "use_path_request_style", "-o", "multipart_size=5"], env=environment,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 20
        while not os.path.ismount(mount):
            assert server.poll() is None and time.monotonic() < end, "s3fs did not mount"
            time.sleep(0.1)
        source = tree(f"{directory}/tree")
        shutil.copytree(source, mount / "tree", copy_function=shutil.copyfile)
        same_trees(source, mount / "tree")
        os.rename(mount / "tree/a.txt", mount / "tree/renamed")
        assert (mount / "tree/renamed").read_bytes() == b"a"
        shutil.rmtree(mount / "tree")
        assert os.listdir(mount) == []
    finally:
        subprocess.run(["umount", mount], check=False)
        server.terminate()
        server.wait(20)


def by_the_javascript_sdk(directory):
    node, prefix = program("node"), os.environ.get("MATRIX_NODE", "")
    if not os.path.isdir(f"{prefix}/node_modules/@aws-sdk/client-s3"):
        raise Skipped("@aws-sdk/client-s3 is not installed")
    script = pathlib.Path(__file__).with_name("s3-matrix.mjs")
    shutil.copy(script, f"{prefix}/s3-matrix.mjs")
    run(node, f"{prefix}/s3-matrix.mjs", BUCKET)


def by_pyarrow(directory):
    pyarrow, parquet = module("pyarrow"), module("pyarrow.parquet")
    filesystem = module("pyarrow.fs").S3FileSystem(access_key=KEY, secret_key=SECRET, endpoint_override=HOST, scheme=SCHEME,
                                                   region="us-east-1", **({"tls_ca_file_path": CA} if CA else {}))
    numbers = pyarrow.table({"n": list(range(300_000)), "text": [f"row {at}" for at in range(300_000)]})
    parquet.write_table(numbers, f"{BUCKET}/pyarrow/table.parquet", filesystem=filesystem)
    assert parquet.read_table(f"{BUCKET}/pyarrow/table.parquet", filesystem=filesystem).equals(numbers)
    with filesystem.open_output_stream(f"{BUCKET}/pyarrow/large") as stream:
        stream.write(LARGE)
    with filesystem.open_input_file(f"{BUCKET}/pyarrow/large") as file:
        assert file.read_at(1000, 5_000_000) == LARGE[5_000_000:5_001_000] and file.read() == LARGE
    selector = module("pyarrow.fs").FileSelector(f"{BUCKET}/pyarrow", recursive=True)
    assert sorted(info.base_name for info in filesystem.get_file_info(selector)) == ["large", "table.parquet"]
    filesystem.delete_dir(f"{BUCKET}/pyarrow")


OPTIONS = {"aws_endpoint_url": ENDPOINT, "aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "aws_region": "us-east-1",
           "aws_allow_http": "true"}


def by_polars(directory):
    polars = module("polars")
    frame = polars.DataFrame({"n": range(200_000), "half": [at / 2 for at in range(200_000)]})
    frame.write_parquet(f"s3://{BUCKET}/polars/frame.parquet", storage_options=OPTIONS)
    back = polars.scan_parquet(f"s3://{BUCKET}/polars/*.parquet", storage_options=OPTIONS)
    assert back.collect().equals(frame)
    assert back.select(polars.col("n").sum()).collect().item() == sum(range(200_000))


def by_obstore(directory):
    obstore = module("obstore")
    store = module("obstore.store").S3Store(BUCKET, endpoint=ENDPOINT, access_key_id=KEY, secret_access_key=SECRET,
                                            region="us-east-1", client_options={"allow_http": True})
    obstore.put(store, "obstore/small", SMALL, mode="create")
    try:
        obstore.put(store, "obstore/small", b"x", mode="create")
    except Exception as error:  # its classes of errors differ by version
        assert "exist" in str(error).lower(), error
    else:
        raise AssertionError("what is there was made again")
    obstore.put(store, "obstore/large", LARGE, chunk_size=5 << 20)
    assert bytes(obstore.get(store, "obstore/large").bytes()) == LARGE
    assert bytes(obstore.get_range(store, "obstore/large", start=7, end=1007)) == LARGE[7:1007]
    version = obstore.head(store, "obstore/small")["e_tag"]
    obstore.put(store, "obstore/small", b"2", mode={"e_tag": version})
    obstore.copy(store, "obstore/large", "obstore/copied")
    obstore.rename(store, "obstore/copied", "obstore/renamed")
    listed = [item["path"] for page in obstore.list(store, "obstore/") for item in page]
    assert sorted(listed) == ["obstore/large", "obstore/renamed", "obstore/small"], listed
    obstore.delete(store, listed)
    assert [item for page in obstore.list(store, "obstore/") for item in page] == []


def by_duckdb(directory):
    """Its S3 client is an extension, which comes as a package of its own."""
    duckdb, extension = module("duckdb"), module("duckdb_extension_httpfs")
    [file] = pathlib.Path(extension.__file__).parent.glob(f"extensions/v{duckdb.__version__}/httpfs.duckdb_extension")
    database = duckdb.connect()
    database.execute(f"LOAD '{file}'")
    if CA:
        database.execute(f"SET ca_cert_file = '{CA}'")
    database.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{KEY}', SECRET '{SECRET}', ENDPOINT '{HOST}', URL_STYLE 'path', "
                     f"USE_SSL {'true' if CA else 'false'}, REGION 'us-east-1')")
    where = f"s3://{BUCKET}/duckdb"
    database.execute(f"COPY (SELECT range AS n, hash(range) AS noise FROM range(1000000)) TO '{where}/numbers.parquet'")
    database.execute(f"COPY (SELECT 1 AS n, 'text' AS t) TO '{where}/one.csv'")
    assert database.execute(f"SELECT count(*), sum(n) FROM '{where}/*.parquet'").fetchone() == (1_000_000, 499_999_500_000)
    assert database.execute(f"SELECT n FROM '{where}/numbers.parquet' WHERE n BETWEEN 777 AND 778").fetchall() == [(777,), (778,)]
    assert database.execute(f"SELECT t FROM '{where}/one.csv'").fetchone() == ("text",)
    assert len(database.execute(f"SELECT * FROM glob('{where}/*')").fetchall()) == 2


def by_deltalake(directory):
    """Two writers race on one table: each commit that was acknowledged is there."""
    deltalake, pyarrow = module("deltalake"), module("pyarrow")
    where = f"s3://{BUCKET}/delta"
    options = {**OPTIONS, "aws_conditional_put": "etag"}
    row = lambda writer, at: pyarrow.table({"writer": [writer], "at": [at]})
    deltalake.write_deltalake(where, row(-1, -1), storage_options=options)

    def write(writer):
        for at in range(8):
            deltalake.write_deltalake(where, row(writer, at), mode="append", storage_options=options)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(write, writer) for writer in range(2)]:
            done.result(100)
    table = deltalake.DeltaTable(where, storage_options=options)
    rows = pyarrow.table(table.to_pyarrow_table()).to_pylist()
    found = sorted((item["writer"], item["at"]) for item in rows)
    assert found == [(-1, -1)] + [(writer, at) for writer in range(2) for at in range(8)], found
    assert table.version() == 16


CLIENTS = [by_boto3, by_minio, by_s3cmd, by_rclone, by_restic, by_s3fs, by_the_javascript_sdk, by_pyarrow, by_polars, by_obstore,
           by_duckdb, by_deltalake]

if __name__ == "__main__":
    s3 = module("boto3").client("s3")
    s3.create_bucket(Bucket=BUCKET)
    failed, wanted = 0, sys.argv[1:]
    for client in CLIENTS:
        if wanted and client.__name__.removeprefix("by_") not in wanted:
            continue
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as directory:
            try:
                client(directory)
                told = "ok     "
            except Skipped as reason:
                told = f"SKIPPED ({reason})"
            except Exception as error:  # each client is told of
                failed += 1
                told = f"FAILED  ({type(error).__name__}: {str(error)[:1500]})"
        print(f"{told} {client.__name__} ({time.monotonic() - begun:.1f} s)", flush=True)
    # Everything is told. Threads that some of these libraries leave behind abort the process if it ends with destructors.
    sys.stdout.flush()
    os._exit(1 if failed else 0)
