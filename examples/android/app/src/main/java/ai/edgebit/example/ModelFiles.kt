package ai.edgebit.example

import android.content.Context
import java.io.File
import java.io.IOException

/**
 * The files of a bundle out of the app's assets: weights are mapped into memory by their path, and an asset has none.
 * Needs as much free storage again as the model takes in the app.
 */
object ModelFiles {
    private const val ASSETS = "model"
    private val NAMES = listOf("weights.bin", "tokenizer.bin", "manifest.json")
    private val DIGEST = Regex("\"sha256\": \"([0-9a-f]{64})\"")

    /** The folder of the bundle, unpacked when the app is started with this model for the first time. */
    fun unpack(context: Context): File {
        val manifest = context.assets.open("$ASSETS/manifest.json").use { it.readBytes().toString(Charsets.UTF_8) }
        val digest = DIGEST.find(manifest)?.groupValues?.get(1)
            ?: throw IOException("assets/$ASSETS/manifest.json is not that of a bundle")
        val folder = File(context.filesDir, "model-$digest")
        if (!folder.isDirectory) {
            removeOthers(context.filesDir)
            copy(context, File(context.filesDir, "model-new"), folder)
        }
        return folder
    }

    /** Into a folder of another name first: what has the right name is whole. */
    private fun copy(context: Context, work: File, folder: File) {
        if (!work.mkdirs()) throw IOException("$work cannot be made")
        for (name in NAMES) {
            context.assets.open("$ASSETS/$name").use { from ->
                File(work, name).outputStream().use { to ->
                    from.copyTo(to, bufferSize = 1 shl 20)
                    to.fd.sync()
                }
            }
        }
        if (!work.renameTo(folder)) throw IOException("$work cannot be renamed to $folder")
    }

    private fun removeOthers(parent: File) {
        parent.listFiles { file -> file.name.startsWith("model-") }?.forEach { it.deleteRecursively() }
    }
}
