// Token ids to vectors with ONNX Runtime's C interface, on iOS (pod onnxruntime-c) or Linux: OnnxClient FOLDER NAME [EXPECTED]
//   swiftc -I MODULE OnnxClient.swift -L ORT/lib -lonnxruntime   (MODULE/module.modulemap names onnxruntime_c_api.h)
// The ids are those of expected.json; an application has them from its own tokenizer (swift-transformers).
import COnnxRuntime
import Foundation

let api = OrtGetApiBase().pointee.GetApi(UInt32(ORT_API_VERSION))!.pointee
func check(_ status: OrtStatusPtr?) { if let status { fatalError(String(cString: api.GetErrorMessage(status)!)) } }

func embed(_ session: OpaquePointer?, _ ids: [Int64], _ dim: Int) -> [Float] {
    var allocator: UnsafeMutablePointer<OrtAllocator>?, found: OpaquePointer?, values: UnsafeMutableRawPointer?
    check(api.GetAllocatorWithDefaultOptions(&allocator))
    let feed = [ids, ids.map { _ in 1 }, ids.map { _ in 0 }].map { row -> OpaquePointer? in
        var tensor: OpaquePointer?, data: UnsafeMutableRawPointer?
        check(api.CreateTensorAsOrtValue(allocator, [1, Int64(row.count)], 2, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, &tensor))
        check(api.GetTensorMutableData(tensor, &data))
        data!.copyMemory(from: row, byteCount: row.count * 8)
        return tensor
    }
    let inputs = ["input_ids", "attention_mask", "token_type_ids"], outputs = ["sentence_embedding"]
    let names = (inputs + outputs).map { strdup($0) }, pointers = names.map { UnsafePointer($0) }
    check(api.Run(session, nil, pointers, feed, 3, [pointers[3]], 1, &found))
    check(api.GetTensorMutableData(found, &values))
    defer { (feed + [found]).forEach { api.ReleaseValue($0) }; names.forEach { free($0) } }
    return Array(UnsafeBufferPointer(start: values!.assumingMemoryBound(to: Float.self), count: dim))
}

let words = CommandLine.arguments, file = words.count > 3 ? words[3] : "\(words[1])/onnx/expected.json"
let expected = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: file))) as! [String: Any]
var environment: OpaquePointer?, session: OpaquePointer?
check(api.CreateEnv(ORT_LOGGING_LEVEL_WARNING, "client", &environment))
check(api.CreateSession(environment, "\(words[1])/onnx/\(words[2])", nil, &session))
let cosines = (expected["texts"] as! [[String: Any]]).map { row -> Double in
    let vector = row["vector"] as! [Double]
    return zip(embed(session, row["ids"] as! [Int64], vector.count), vector).reduce(0) { $0 + Double($1.0) * $1.1 }
}
print("worst cosine \(cosines.min()!) of \(cosines.count) texts")
exit(cosines.min()! >= (expected["artifacts"] as! [String: [String: Any]])[words[2]]!["worst_cosine"] as! Double ? 0 : 1)
