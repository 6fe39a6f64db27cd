package ai.edgebit.example;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.List;

/** Talks to a toy bundle as the app does; prints what comes back, one thing a line. */
final class Harness {
  private static long handle;

  private static byte[][] texts(String... texts) {
    byte[][] all = new byte[texts.length][];
    for (int i = 0; i < texts.length; i++) all[i] = texts[i].getBytes(UTF_8);
    return all;
  }

  private static List<String> answer(int most, float temperature, long seed, String... contents) {
    List<String> pieces = new ArrayList<>();
    String[] roles = new String[contents.length];
    for (int i = 0; i < roles.length; i++) roles[i] = i % 2 == 0 ? "user" : "assistant";
    Native.answer(handle, texts(roles), texts(contents), most, temperature, 0, 1, 0, seed,
        utf8 -> pieces.add(new String(utf8, UTF_8)));
    return pieces;
  }

  private static void say(String name, Object thing) {
    System.out.println(name + ": " + thing);
  }

  private static void fails(String name, Runnable task) {
    try {
      task.run();
      say(name, "no exception");
    } catch (IllegalStateException error) {
      say(name, error.getMessage());
    }
  }

  public static void main(String[] arguments) throws Exception {
    System.load(arguments[0]);
    fails("missing", () -> Native.open("/nowhere/ä".getBytes(UTF_8), 1));
    fails("threads", () -> Native.open(arguments[1].getBytes(UTF_8), 1000));
    handle = Native.open(arguments[1].getBytes(UTF_8), 2);
    say("facts", Native.tier(handle).isEmpty() + " " + Native.threads(handle) + " " + Native.context(handle));
    say("answer", answer(0, 0, 0, "hi"));
    say("again", String.join("", answer(0, 0, 0, "hi", "there", "ho")));
    say("cut", answer(4, 0, 0, "hi"));
    say("sampled", answer(8, 900, 1, "hi").equals(answer(8, 900, 1, "hi")));
    fails("long", () -> answer(0, 0, 0, "x".repeat(100)));
    fails("role", () -> answer(0, 0, 0));
    try {
      Native.answer(handle, texts("user"), texts("hi"), 0, 0, 0, 1, 0, 0, utf8 -> {
        throw new UnsupportedOperationException("enough");
      });
    } catch (UnsupportedOperationException error) {
      say("thrown", error.getMessage());
    }
    StringBuilder stopped = new StringBuilder();
    Native.answer(handle, texts("user"), texts("hi"), 0, 0, 0, 1, 0, 0, utf8 -> {
      stopped.append(new String(utf8, UTF_8));
      Native.stop(handle);
    });
    say("stopped", stopped);
    say("after", answer(0, 0, 0, "hi"));
    Native.close(handle);
  }
}
