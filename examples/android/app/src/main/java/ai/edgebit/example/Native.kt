package ai.edgebit.example

/** Takes the text of an answer as it comes: whole characters of UTF-8. */
fun interface TextSink {
    fun onText(utf8: ByteArray)
}

/**
 * app/src/main/c/edgebit_jni.c. Texts are UTF-8 in byte arrays: the strings of JNI are encoded in a way of their own,
 * which no tokenizer knows. Handles are those of [open]; a failure is an IllegalStateException.
 */
internal object Native {
    init {
        System.loadLibrary("edgebit_jni")
    }

    /** Opens a model and a conversation; 0 threads: the processors worth using. */
    @JvmStatic
    external fun open(folder: ByteArray, threads: Int): Long

    /** Releases both. No other call may be running. */
    @JvmStatic
    external fun close(handle: Long)

    @JvmStatic
    external fun tier(handle: Long): String

    @JvmStatic
    external fun threads(handle: Long): Int

    @JvmStatic
    external fun context(handle: Long): Int

    /** Answers a conversation; returns when the answer is done, or soon after [stop]. 0 tokens: no limit. */
    @JvmStatic
    external fun answer(
        handle: Long,
        roles: Array<ByteArray>,
        contents: Array<ByteArray>,
        maxTokens: Int,
        temperature: Float,
        topK: Int,
        topP: Float,
        minP: Float,
        seed: Long,
        sink: TextSink,
    )

    /** Ends the answer that is running, from any thread. */
    @JvmStatic
    external fun stop(handle: Long)
}
