package ai.edgebit.example;

/** The methods of Native.kt for a Java machine without Kotlin. */
final class Native {
  static native long open(byte[] folder, int threads);

  static native void close(long handle);

  static native String tier(long handle);

  static native int threads(long handle);

  static native int context(long handle);

  static native void answer(long handle, byte[][] roles, byte[][] contents, int maxTokens, float temperature, int topK,
      float topP, float minP, long seed, TextSink sink);

  static native void stop(long handle);
}

interface TextSink {
  void onText(byte[] utf8);
}
