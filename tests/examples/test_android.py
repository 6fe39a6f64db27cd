"""examples/android: what can be said of the app without an Android SDK; its JNI part runs in a Java VM."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from edgebit.bundle.link import zig_environment
from edgebit.compiler.target import load_target
from tests.runtime.toy_bundle import ANSWER, write_toy_bundle

APP = Path(__file__).parents[2] / "examples" / "android"
MAIN = APP / "app" / "src" / "main"
HERE = Path(__file__).with_name("android")
KOTLIN = {path.name: path.read_text() for path in MAIN.rglob("*.kt")}
JAVA = ["-Xcheck:jni", *(f"-D{name}=UTF-8" for name in ("file.encoding", "stdout.encoding"))]
HARNESS = "ai.edgebit.example.Harness"
ANDROID = "{http://schemas.android.com/apk/res/android}"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_bundle(tmp_path_factory.mktemp("app") / "bundle")


# ---- the JNI part ------------------------------------------------------------------------------------


def java_home() -> Path:
    """The folder of a JDK, with the headers of JNI."""
    compiler = shutil.which("javac")
    home = Path(compiler).resolve().parents[1] if compiler else Path("/nowhere")
    if not (home / "include" / "jni.h").exists():
        pytest.skip("no JDK")
    return home


def compile_jni(output: Path, target: str, bundle: Path, *options: str) -> None:
    include = java_home() / "include"
    system = next(path.parent for path in include.glob("*/jni_md.h"))
    flags = [
        "-std=c11",
        "-O1",
        "-fPIC",
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-I{bundle}",
        f"-I{include}",
        f"-I{system}",
    ]
    sources = sorted(map(str, (MAIN / "c").glob("*.c")))
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            "-target",
            target,
            *flags,
            *sources,
            "-o",
            str(output),
            *options,
        ],
        env=zig_environment(output.parent),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_the_jni_part_answers_in_a_java_machine(bundle: Path, tmp_path: Path) -> None:
    home = java_home()
    library = tmp_path / "libedgebit_jni.so"
    here = load_target("host").zig_target
    compile_jni(library, here, bundle, "-shared", str(bundle / "libmodel.so"), f"-Wl,-rpath,{bundle}")
    sources = [str(HERE / "Native.java"), str(HERE / "Harness.java")]
    subprocess.run([str(home / "bin" / "javac"), "-d", str(tmp_path), *sources], check=True)
    result = subprocess.run(
        [str(home / "bin" / "java"), *JAVA, "-cp", str(tmp_path), HARNESS, str(library), str(bundle)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "WARNING in native method" not in result.stdout + result.stderr
    said = dict(line.split(": ", 1) for line in result.stdout.splitlines())
    pieces = f"[{', '.join(ANSWER)}]"  # one whole character each
    assert said == {
        "missing": "/nowhere/ä/weights.bin cannot be read",
        "threads": "1000 threads: expected 1 to 256, or 0 for one per CPU",
        "facts": "false 2 48",
        "answer": pieces,
        "again": ANSWER,
        "cut": "[é, \ufffd]",
        "sampled": "true",
        "long": "the conversation has 103 tokens, the context holds 48: begin anew",
        "role": said["role"],
        "thrown": "enough",
        "stopped": ANSWER[0],
        "after": pieces,
    }


@pytest.mark.parametrize("target", ["aarch64-linux-musl", "arm-linux-musleabihf"])
def test_the_jni_part_compiles_for_phones(target: str, bundle: Path, tmp_path: Path) -> None:
    for source in (MAIN / "c").glob("*.c"):
        assert source.read_text().count("\t") == 0
    compile_jni(tmp_path / "jni.o", target, bundle, "-r")


def test_kotlin_java_and_c_name_the_same_functions() -> None:
    kotlin = set(re.findall(r"external fun (\w+)\(", KOTLIN["Native.kt"]))
    java = set(re.findall(r"static native \S+ (\w+)\(", (HERE / "Native.java").read_text()))
    source = (MAIN / "c" / "edgebit_jni.c").read_text()
    c = set(re.findall(r"^JNIEXPORT .*\bJava_ai_edgebit_example_Native_(\w+)\(", source, re.MULTILINE))
    assert kotlin == java == c
    for name in kotlin:
        parameters = re.search(rf"external fun {name}\((.*?)\)", KOTLIN["Native.kt"], re.DOTALL)
        declared = re.search(rf"Native_{name}\((.*?)\)", source, re.DOTALL)
        assert parameters and declared
        kinds = re.findall(r": (\w+(?:<\w+>)?)", parameters[1])
        words = {"Long": "jlong", "Int": "jint", "Float": "jfloat", "ByteArray": "jbyteArray"}
        words |= {"Array<ByteArray>": "jobjectArray", "TextSink": "jobject"}
        found = [each.split()[0] for each in declared[1].split(",")][2:]
        assert found == [words[kind] for kind in kinds]


# ---- the rest of the app -----------------------------------------------------------------------------


def test_resources_are_xml_and_name_each_other_rightly() -> None:
    trees = {path: ElementTree.parse(path).getroot() for path in MAIN.rglob("*.xml")}
    assert len(trees) == 3
    text = "".join(path.read_text() for path in trees) + "".join(KOTLIN.values())
    strings = {each.get("name") for each in trees[MAIN / "res" / "values" / "strings.xml"]}
    assert set(re.findall(r"@string/(\w+)", text)) | set(re.findall(r"R\.string\.(\w+)", text)) == strings
    layout = (MAIN / "res" / "layout" / "activity_main.xml").read_text()
    assert set(re.findall(r"R\.id\.(\w+)", text)) == set(re.findall(r'"@\+id/(\w+)"', layout))
    activity = trees[MAIN / "AndroidManifest.xml"].find("application/activity")
    assert activity is not None
    name = str(activity.get(f"{ANDROID}name")).removeprefix(".")
    assert f"class {name} : Activity()" in KOTLIN[f"{name}.kt"]


def test_gradle_names_what_is_there() -> None:
    build = (APP / "app" / "build.gradle.kts").read_text()
    assert (APP / "app" / str(re.findall(r'path = file\("(.+)"\)', build)[0])).exists()
    package = re.findall(r'namespace = "(.+)"', build)[0]
    assert all(source.startswith(f"package {package}\n") for source in KOTLIN.values())
    declared = re.findall(r'id\("(.+?)"\) version', (APP / "build.gradle.kts").read_text())
    assert re.findall(r'id\("(.+?)"\)\n', build) == declared
    assert 'include(":app")' in (APP / "settings.gradle.kts").read_text()
    for path in [*APP.glob("*.kts"), *APP.glob("app/*.kts"), *MAIN.rglob("*.kt")]:
        code = re.sub(r'"(\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', "", path.read_text(), flags=re.DOTALL)
        for opening, closing in ("()", "[]", "{}"):
            assert code.count(opening) == code.count(closing), path


def prepare(bundle: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(folder / "prepare.sh"), str(bundle)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_prepare_copies_what_the_app_reads(bundle: Path, tmp_path: Path) -> None:
    app = shutil.copytree(APP, tmp_path / "app")
    phone = write_toy_bundle(tmp_path / "phone", target=load_target("android-arm64"))
    assert prepare(phone, app).returncode == 0
    main = app / "app" / "src" / "main"
    names = re.findall(r'"([\w.]+)"', re.findall(r"NAMES = listOf\((.+)\)", KOTLIN["ModelFiles.kt"])[0])
    for name in names:
        assert (main / "assets" / "model" / name).read_bytes() == (phone / name).read_bytes()
    assert (main / "jniLibs" / "arm64-v8a" / "libmodel.so").exists() and (main / "c" / "edgebit.h").exists()
    digest = re.search(r'"sha256": "([0-9a-f]{64})"', (phone / "manifest.json").read_text())
    assert digest and 'Regex("\\"sha256\\": \\"([0-9a-f]{64})\\"")' in KOTLIN["ModelFiles.kt"]
    ignored = (APP / ".gitignore").read_text()
    assert all(f"/app/src/main/{name}" in ignored for name in ("assets/", "jniLibs/", "c/edgebit.h"))
    refused = prepare(tmp_path, app)
    assert refused.returncode == 1 and refused.stderr.endswith("is not a bundle\n")
    if load_target("host").architecture != "arm64":
        assert "--target android-arm64" in prepare(bundle, app).stderr
